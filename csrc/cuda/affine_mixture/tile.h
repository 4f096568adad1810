// A block's tile: its layout in shared memory, how it is loaded, and how large it is.
//
// The logits of a tile are staged in shared memory. So each is read only once, however often the formulas
// need it, and in the order in which it lies in global memory: with the pixels of a channel side by side
// (contiguous) a warp reads neighbouring pixels; with the channels of a pixel side by side (channels_last)
// the block reads its tile from end to end.
#pragma once

#include "cuda/affine_mixture/kernels.h"
#include "cuda/runtime/launch.h"
#include "math/affine_mixture.h"

namespace internet::cuda {

constexpr int most_threads = 256;

template <class S, int N>
struct alignas(4 * sizeof(S)) AnchorMap {  // aligned so that few loads fetch it
  math::Affine<S, N> affine;
};

// What a pixel contributes to the gradients of the maps is determined by the gradient g with respect to its
// field and by its position z.
template <class S, int N>
struct alignas((N == 2 ? 4 : 2) * sizeof(S)) Pull {
  math::Point<S, N> g, z;
};

// The layout of a block's shared memory, or scratch. `values` are the tile's logits; the backward pass then
// replaces them by their exponentials, and finally by the weights. `gradients`, if staged, are those of the
// logits. Both are (K+1, pitch), with a thread's pixel along the second axis. The pitch is odd, so that
// walking along either axis spreads a warp over the banks.
template <class S, int N>
struct TileMemory {
  AnchorMap<S, N>* maps;  // (K)
  Pull<S, N>* pulls;      // (threads), backward only
  S* values;
  S* gradients;
  int pitch;

  INTERNET_MEMBER TileMemory(unsigned char* memory, int anchors, int threads, bool backward)
      : maps(reinterpret_cast<AnchorMap<S, N>*>(memory)),
        pulls(reinterpret_cast<Pull<S, N>*>(maps + anchors)),
        values(reinterpret_cast<S*>(pulls + (backward ? threads : 0))),
        gradients(values + (anchors + 1) * (threads + 1)),
        pitch(threads + 1) {}

  static size_t bytes(int anchors, int threads, bool backward, bool staged) {
    size_t image = sizeof(S) * (anchors + 1) * (threads + 1);
    return sizeof(AnchorMap<S, N>) * anchors + (backward ? sizeof(Pull<S, N>) * threads : 0) +
           image * (staged ? 2 : 1);
  }
};
static_assert(sizeof(AnchorMap<float, 2>) == 32 && sizeof(AnchorMap<double, 3>) == 96);

template <class T, int N>
INTERNET_HD void load_tile(const AffineMixture<T, N>& p, const PixelTile& tile,
                           const TileMemory<opmath<T>, N>& memory, int thread) {
  for (int k = thread; k < p.anchors; k += p.plan.threads) {
    memory.maps[k].affine = p.affine[tile.image * p.anchors + k];
  }
  const int channels = p.anchors + 1;
  const auto& stride = p.logits.stride;
  const T* image = p.logits.data + tile.image * stride[0];
  if (pixel_major(stride, channels, p.grid.size)) {
    const T* values = image + tile.first * channels;
    each_value(tile, channels, thread, p.plan.threads, [&](int offset, int channel, int pixel) {
      memory.values[channel * memory.pitch + pixel] = widen(values[offset]);
    });
  } else if (thread < tile.count) {
    const T* value = image + position(p.grid, tile.first + thread).offset(stride + 2);
#pragma unroll 4
    for (int k = 0; k < channels; ++k) {
      memory.values[k * memory.pitch + thread] = widen(value[k * stride[1]]);
    }
  }
}

// The largest value of a pixel; its values are `pitch` apart.
template <class S>
INTERNET_HD S largest_of(const S* values, int pitch, int channels) {
  S largest = values[0];
  for (int k = 1; k < channels; ++k) largest = math::larger(largest, values[k * pitch]);
  return largest;
}

// T_0(z), the background's motion.
template <class T, class S, int N>
INTERNET_HD math::Point<S, N> still(const AffineMixture<T, N>& p, int64_t image, const math::Point<S, N>& z) {
  if (p.background.data == nullptr) return z;
  return math::from_homogeneous(projective<N>(p.background, image).row(z).at(z.axis[0]));
}

// The tile's memory: the block's shared memory, or its part of the scratch.
template <bool in_scratch, class P>
__device__ __forceinline__ unsigned char* tile_memory(const P& p, unsigned char* shared_memory) {
  if constexpr (in_scratch) return p.scratch + blockIdx.x * p.plan.shared_bytes;
  return shared_memory;
}

// The largest tile that fits into shared memory, without staging if need be; otherwise the smallest, for
// scratch.
template <class S, int N>
TilePlan fitting(int anchors, bool backward, bool staged) {
  for (int threads = most_threads; threads >= warp_size; threads /= 2) {
    const size_t bytes = TileMemory<S, N>::bytes(anchors, threads, backward, staged);
    if (bytes <= shared_bytes_of_a_block) return {threads, staged, bytes};
  }
  if (staged) return fitting<S, N>(anchors, backward, false);
  const size_t bytes = TileMemory<S, N>::bytes(anchors, warp_size, backward, false);
  constexpr size_t unit = sizeof(AnchorMap<S, N>);  // keeps the next block's memory aligned
  return {warp_size, false, (bytes + unit - 1) / unit * unit};
}

// A block for each tile of each image. A kernel has three variants: with the tile in scratch, which handles a
// threshold of 0 like any other; and with the tile in shared memory, with and without a threshold.
template <class P>
cudaError_t launch_tiles(void (*in_scratch)(P), void (*thresholded)(P), void (*plain)(P), const P& p,
                         cudaStream_t stream) {
  const int64_t blocks = p.grid.batch * p.plan.tiles(p.grid.pixels());
  if (needs_scratch(p.plan)) return launch(in_scratch, blocks, p.plan.threads, 0, stream, p);
  auto kernel = p.threshold > 0 ? thresholded : plain;
  return launch(kernel, blocks, p.plan.threads, p.plan.shared_bytes, stream, p);
}

}  // namespace internet::cuda
