// A block's strip of pixels is processed in chunks of anchors, so that the values of a chunk fit into shared
// memory.
#pragma once

#include <algorithm>

#include "cuda/anchor_features/strips.h"
#include "cuda/runtime/offsets.h"

namespace internet::cuda {

// A chunk of anchors, first .. first + count - 1, and the range of their values in a pixel.
struct Chunk {
  int first, count, first_value, values;
};
INTERNET_HD Chunk chunk_of(int first, int at_once, int anchors, int channels) {
  const int count = anchors - first < at_once ? anchors - first : at_once;
  return {first, count, first * (1 + channels), count * (1 + channels)};
}

// The pitch of rows of so many values in shared memory. It is an odd number of banks, so that walking along
// either axis spreads a warp over them.
template <class T>
INTERNET_HD constexpr int odd_pitch(int values) {
  return values + (sizeof(T) < 4 ? 4 / sizeof(T) : 1);
}

// Up to `anchors` at a time, as many as fit into shared memory, and then up to `steps` of them; not staged if
// not even one fits.
inline AnchorPlan plan(int anchors, int steps, bool staged, size_t bytes_of_a_step) {
  const size_t fitting = staged ? shared_bytes_of_a_block / bytes_of_a_step : 0;
  if (fitting == 0) return {{threads_of_a_strip, false, 0}, anchors, steps};
  const int at_once = int(std::min(fitting, size_t(anchors)));
  const int steps_at_once = int(std::min(fitting / at_once, size_t(steps)));
  return {{threads_of_a_strip, true, at_once * steps_at_once * bytes_of_a_step}, at_once, steps_at_once};
}

// The sizes of all axes but the first of a tensor with this many channels.
template <class S, int N>
struct ImageSizes {
  int64_t of[N + 1];

  ImageSizes(const PixelGrid<S, N>& grid, int64_t channels) : of{channels} {
    for (int a = 0; a < N; ++a) of[1 + a] = grid.size[a];
  }
};

// Whether 32-bit offsets reach all values of an image, both in the packed source and in `values`: the output
// or its gradient.
template <class P, class T, int M>
bool fits_32_bits(const P& p, const Strided<T, M>& values) {
  const ImageSizes output(p.grid, p.anchors * (1 + p.channels));
  return p.source.image_stride < int64_t(1) << 30 && fits_32_bits(values, output.of);
}

// A block for each strip of each image.
template <class P>
cudaError_t launch_strips(void (*kernel)(P), const P& p, cudaStream_t stream) {
  const int64_t blocks = p.grid.batch * strip_count(p.grid).of_an_image();
  return launch(kernel, blocks, threads_of_a_strip, p.plan.tile.shared_bytes, stream, p);
}

}  // namespace internet::cuda
