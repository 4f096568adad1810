// A block's tile of pixels, and the chunks of anchors that it does one after the other: what of them passes
// through shared memory.
#pragma once

#include "cuda/anchor_features/kernels.h"
#include "cuda/runtime/offsets.h"

namespace internet::cuda {

constexpr int threads_of_a_block = 256;

// Of blocks that a multiprocessor holds at once: the registers must do for as many. What takes more of them:
// numbers of 64 bits, wide offsets and a third axis.
template <class Index, class T, int N>
constexpr int burdens = (sizeof(T) == 8) + (sizeof(Index) == 8) + (N == 3);

// A chunk of anchors, first .. first + count - 1, and the values of a pixel that are theirs.
struct Chunk {
  int first, count, first_value, values;
};
INTERNET_HD Chunk chunk_of(int first, int at_once, int anchors, int channels) {
  const int count = anchors - first < at_once ? anchors - first : at_once;
  return {first, count, first * (1 + channels), count * (1 + channels)};
}

// Values of a tile in shared memory, (values, pitch), a thread's pixel along the second axis. The pitch is an
// odd number of banks: walking along either axis spreads a warp over them.
template <class T>
constexpr int pitch = threads_of_a_block + (sizeof(T) < 4 ? 4 / sizeof(T) : 1);

// As many anchors at once as fit, but no more than there are; not staged where not one of them fits.
inline AnchorPlan plan(int anchors, bool staged, size_t fixed, size_t bytes, size_t staged_bytes) {
  const size_t of_an_anchor = bytes + (staged ? staged_bytes : 0);
  const size_t fitting = of_an_anchor == 0 ? anchors : (shared_bytes_of_a_block - fixed) / of_an_anchor;
  if (fitting == 0) return plan(anchors, false, fixed, bytes, 0);
  const int at_once = fitting < size_t(anchors) ? int(fitting) : anchors;
  return {{threads_of_a_block, staged, fixed + at_once * of_an_anchor}, at_once};
}

// The sizes of the axes after the first of a tensor with these channels.
template <class S, int N>
struct ImageSizes {
  int64_t of[N + 1];

  ImageSizes(const PixelGrid<S, N>& grid, int64_t channels) : of{channels} {
    for (int a = 0; a < N; ++a) of[1 + a] = grid.size[a];
  }
};

}  // namespace internet::cuda
