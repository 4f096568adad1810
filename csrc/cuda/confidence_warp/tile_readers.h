// The readers of a tile's pixels, in the shared memory of the block that gathers for the tile.
#pragma once

#include "cuda/confidence_warp/sampling_transpose.h"

namespace internet::cuda {

// The range of a whole tile's readers, given its lists.
struct Stretch {
  int64_t first, length;
};
__device__ __forceinline__ Stretch stretch_of(const Readers* lists) {
  const Readers last = lists[ReaderTiles::pixels - 1];
  return {lists->first, last.first + last.count - lists->first};
}

// An insertion sort: usually there are four.
template <class S>
__device__ __forceinline__ void sort_few(Reader<S>* readers, int count) {
  for (int i = 1; i < count; ++i) {
    const Reader<S> one = readers[i];
    int place = i;
    for (; place > 0 && readers[place - 1].pixel > one.pixel; --place) readers[place] = readers[place - 1];
    if (place != i) readers[place] = one;
  }
}

// The shared memory of a block that gathers.
template <class S>
struct TileReaders {
  Reader<S> readers[staged_readers];
  int64_t begin[ReaderTiles::pixels];
  int count[ReaderTiles::pixels];
  uint8_t owner[staged_readers];  // the pixel whose list a reader is in
};
static_assert(ReaderTiles::pixels == 256);

// Loads the tile's readers into shared memory, each list sorted, and returns the array that `begin` indexes:
// shared memory, or global memory if they are too many. Must be called by all threads of the block, one for
// each pixel of the tile.
//
// If each thread sorted a list, the block would wait for the longest one. So each reader finds its own
// position, by counting the readers before it; long lists are already sorted.
template <class S>
__device__ __forceinline__ const Reader<S>* stage_readers(const Readers* lists, const Reader<S>* readers,
                                                          TileReaders<S>& tile) {
  constexpr int threads = ReaderTiles::pixels, most = staged_readers / threads;
  const Stretch stretch = stretch_of(lists);
  const Readers own = lists[threadIdx.x];
  const int64_t begin = own.first - stretch.first;
  tile.begin[threadIdx.x] = begin;
  tile.count[threadIdx.x] = own.count;
  readers += stretch.first;
  const bool fits = stretch.length <= staged_readers;
  if (fits) {
    for (int k = 0; k < own.count; ++k) tile.owner[begin + k] = uint8_t(threadIdx.x);
    for (int i = threadIdx.x; i < stretch.length; i += threads) tile.readers[i] = readers[i];
  }
  __syncthreads();
  if (!fits) return readers;
  Reader<S> one[most];
  int place[most];
#pragma unroll
  for (int k = 0; k < most; ++k) {
    const int i = threadIdx.x + k * threads;
    if (i >= stretch.length) continue;
    one[k] = tile.readers[i];
    const int owner = tile.owner[i], first = int(tile.begin[owner]), count = tile.count[owner];
    place[k] = i;
    if (count > few_readers) continue;
    place[k] = first;
    for (int j = first; j < first + count; ++j) place[k] += tile.readers[j].pixel < one[k].pixel ? 1 : 0;
  }
  __syncthreads();
#pragma unroll
  for (int k = 0; k < most; ++k) {
    if (threadIdx.x + k * threads < stretch.length) tile.readers[place[k]] = one[k];
  }
  __syncthreads();
  return tile.readers;
}

}  // namespace internet::cuda
