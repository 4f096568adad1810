// A block's tile of pixels is processed in chunks of anchors, so that the values of a chunk fit into shared
// memory.
#pragma once

#include "cuda/anchor_features/kernels.h"
#include "cuda/runtime/launch.h"
#include "cuda/runtime/offsets.h"

namespace internet::cuda {

constexpr int threads_of_a_block = 256;

// A kernel's launch bounds set a minimum number of resident blocks per multiprocessor, which limits its
// registers. This counts what takes more registers: 64-bit numbers, 64-bit offsets and a third axis.
template <class Index, class T, int N>
constexpr int burdens = (sizeof(T) == 8) + (sizeof(Index) == 8) + (N == 3);

// A chunk of anchors, first .. first + count - 1, and the range of their values in a pixel.
struct Chunk {
  int first, count, first_value, values;
};
INTERNET_HD Chunk chunk_of(int first, int at_once, int anchors, int channels) {
  const int count = anchors - first < at_once ? anchors - first : at_once;
  return {first, count, first * (1 + channels), count * (1 + channels)};
}

// The pitch of a tile's values in shared memory, (values, pitch), with a thread's pixel along the second
// axis. It is an odd number of banks, so that walking along either axis spreads a warp over them.
template <class T>
constexpr int pitch = threads_of_a_block + (sizeof(T) < 4 ? 4 / sizeof(T) : 1);

// The largest number of anchors at a time that fits; not staged if not even one fits.
inline AnchorPlan plan(int anchors, bool staged, size_t fixed, size_t bytes, size_t staged_bytes) {
  const size_t of_an_anchor = bytes + (staged ? staged_bytes : 0);
  const size_t fitting = of_an_anchor == 0 ? anchors : (shared_bytes_of_a_block - fixed) / of_an_anchor;
  if (fitting == 0) return plan(anchors, false, fixed, bytes, 0);
  const int at_once = fitting < size_t(anchors) ? int(fitting) : anchors;
  return {{threads_of_a_block, staged, fixed + at_once * of_an_anchor}, at_once};
}

// The sizes of all axes but the first of a tensor with this many channels.
template <class S, int N>
struct ImageSizes {
  int64_t of[N + 1];

  ImageSizes(const PixelGrid<S, N>& grid, int64_t channels) : of{channels} {
    for (int a = 0; a < N; ++a) of[1 + a] = grid.size[a];
  }
};

// Whether 32-bit offsets reach all values of an image, both in the source and in `values`: the output or its
// gradient.
template <class P, class T, int M>
bool fits_32_bits(const P& p, const Strided<T, M>& values) {
  const ImageSizes source(p.grid, p.channels), output(p.grid, p.anchors * (1 + p.channels));
  return fits_32_bits(p.source, source.of) && fits_32_bits(values, output.of);
}

// A block for each tile of each image.
template <class P>
cudaError_t launch_tiles(void (*kernel)(P), const P& p, cudaStream_t stream) {
  const int64_t blocks = p.grid.batch * p.plan.tile.tiles(p.grid.pixels());
  return launch(kernel, blocks, threads_of_a_block, p.plan.tile.shared_bytes, stream, p);
}

}  // namespace internet::cuda
