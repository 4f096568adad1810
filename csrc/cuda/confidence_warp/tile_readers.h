// The readers of a tile's pixels, in the shared memory of the block that gathers for the tile.
#pragma once

#include "cuda/confidence_warp/sampling_transpose.h"

namespace internet::cuda {

// The largest number of lists, from `first` on, whose readers from number `from` on are at most `most`: the
// end of these lists. `begin` are the beginnings of all lists of a tile.
__device__ __forceinline__ int lists_within(const uint32_t* begin, int first, uint32_t from, uint32_t most) {
  int last = first;
  for (int step = ReaderTiles::pixels; step > 0; step /= 2) {
    const int next = last + step;
    if (next <= ReaderTiles::pixels && begin[next] - from <= most) last = next;
  }
  return last;
}

// Readers `from` .. `to` - 1 of a tile, in lists `first` .. `last` - 1: as many whole lists as there is room
// for, or else a part of one. The first list may be the rest of one.
struct Section {
  int first, last;
  uint32_t from, to;
};
__device__ __forceinline__ Section section_from(const uint32_t* begin, int first, uint32_t from,
                                                uint32_t most) {
  const int last = lists_within(begin, first, from, most);
  if (last > first) return {first, last, from, begin[last]};
  return {first, first + 1, from, from + most};
}

}  // namespace internet::cuda
