// The readers of a tile's pixels, as the block that gathers for the tile has them.
#pragma once

#include "cuda/confidence_warp/sampling_transpose.h"

namespace internet::cuda {

// The stretch of a whole tile, given its lists.
struct Stretch {
  int64_t first, length;
};
__device__ __forceinline__ Stretch stretch_of(const Readers* lists) {
  const Readers last = lists[ReaderTiles::pixels - 1];
  return {lists->first, last.first + last.count - lists->first};
}

// By insertion: there are mostly four.
template <class S>
__device__ __forceinline__ void sort_few(Reader<S>* readers, int count) {
  for (int i = 1; i < count; ++i) {
    const Reader<S> one = readers[i];
    int place = i;
    for (; place > 0 && readers[place - 1].pixel > one.pixel; --place) readers[place] = readers[place - 1];
    if (place != i) readers[place] = one;
  }
}

// The list of the pixel of this thread, sorted; from `begin` on in what is returned. `staged` is shared
// memory for staged_readers. All threads of the block are here, one for each pixel of the tile.
template <class S>
struct OwnReaders {
  const Reader<S>* readers;
  int64_t begin;
  int count;
};
template <class S>
__device__ __forceinline__ OwnReaders<S> stage_readers(const Readers* lists, const Reader<S>* readers,
                                                       Reader<S>* staged) {
  const Stretch stretch = stretch_of(lists);
  const Readers own = lists[threadIdx.x];
  const int64_t begin = own.first - stretch.first;
  readers += stretch.first;
  if (stretch.length > staged_readers) return {readers, begin, own.count};
  for (int i = threadIdx.x; i < stretch.length; i += ReaderTiles::pixels) staged[i] = readers[i];
  __syncthreads();
  if (own.count <= few_readers) sort_few(staged + begin, own.count);
  __syncthreads();
  return {staged, begin, own.count};
}

}  // namespace internet::cuda
