// Scattering the gradients of pixels along which a lane walks, as 32 lanes do side by side.
//
// Linear sampling on N axes reads two slabs of 2^(N-1) pixels, at the lower and the higher index of the last
// axis of the sums (the rows of an image, the slices of a volume). When a lane walks along that axis, the
// higher slab of a sample is usually the lower slab of the next one: it is kept until then, and added
// together with it, which halves the number of atomics. The eastern pixels of a slab are usually the western
// ones of the next lane's. That halves it again, but handing them over takes more instructions: it is worth
// it for volumes.
#pragma once

#include "cuda/runtime/launch.h"
#include "cuda/sampling/bilinear_sample.h"
#include "cuda/scatter/grad_accumulator.h"

namespace internet::cuda {

// The distances between neighbours along each axis of the sums, x first, and between channels.
template <class Index, int N>
struct SumStrides {
  Index axis[N], channel;
};

template <class Index, class S, int N, int channels, bool fixed_point>
class SlabScatter {
  static_assert(N == 2 || N == 3);
  static constexpr int pixels =
      1 << (N - 1);  // west, east; for volumes those of the north, then of the south

 public:
  __device__ __forceinline__ SlabScatter(const GradAccumulator<S>& sums, const SumStrides<Index, N>& strides)
      : sums_(sums), strides_(strides) {}

  // Adds the gradients of the first `count` channels of a sample. For volumes, all 32 lanes must take part.
  __device__ __forceinline__ void add(const math::Axis<S> (&axes)[N], bool reads,
                                      const S (&gradients)[channels], int count) {
    math::Axis<S> x = axes[0], last = axes[N - 1];
    const bool east = two_pixels(x), next = two_pixels(last);
    bool south = false;
    Index first = Index(x.low) * strides_.axis[0] + Index(last.low) * strides_.axis[N - 1];
    S weights[pixels] = {x.low_weight, x.high_weight};
    if constexpr (N == 3) {
      math::Axis<S> y = axes[1];
      south = two_pixels(y);
      first += Index(y.low) * strides_.axis[1];
      weights[2] = y.high_weight * weights[0];
      weights[3] = y.high_weight * weights[1];
      weights[0] *= y.low_weight;
      weights[1] *= y.low_weight;
    }
    const bool continues =
        reads && kept_.reads && first == kept_.first && east == kept_.east && south == kept_.south;
    const bool leaves = kept_.reads && !continues;
    if (N == 3 ? __any_sync(~0u, leaves) : leaves) flush(leaves, count);
    kept_.first = first;
    kept_.reads = reads;
    kept_.east = east;
    kept_.south = south;
#pragma unroll
    for (int c = 0; c < channels; ++c) {
      const S low = reads ? last.low_weight * gradients[c] : S(0);
#pragma unroll
      for (int i = 0; i < pixels; ++i) {
        kept_.sum[c][i] = (continues ? kept_.sum[c][i] : S(0)) + weights[i] * low;
      }
    }
    flush(reads, count);
#pragma unroll
    for (int c = 0; c < channels; ++c) {
      const S high = reads && next ? last.high_weight * gradients[c] : S(0);
#pragma unroll
      for (int i = 0; i < pixels; ++i) kept_.sum[c][i] = weights[i] * high;
    }
    kept_.first += strides_.axis[N - 1];
    kept_.reads = reads && next;
  }

  // Adds what is kept. Must follow the last sample.
  __device__ __forceinline__ void finish(int count) { flush(kept_.reads, count); }

 private:
  // What this lane has of one slab.
  struct Slab {
    Index first;              // the offset of its first pixel
    bool reads, east, south;  // whether there is anything, and pixels to the east and south
    S sum[channels][pixels];
  };

  // Adds the slab of each lane that has something `to_add`.
  __device__ __forceinline__ void flush(bool to_add, int count) const {
    if constexpr (N == 3) {
      const int lane = threadIdx.x % warp_size;
      const Index west = __shfl_up_sync(~0u, kept_.first, 1);
      const int offered = __shfl_up_sync(~0u, to_add && kept_.east ? 1 + kept_.south : 0, 1);
      const bool from_west =
          lane != 0 && to_add && offered == 1 + kept_.south && west + strides_.axis[0] == kept_.first;
      const bool into_east = __shfl_down_sync(~0u, int(from_west), 1) != 0 && lane != warp_size - 1;
#pragma unroll
      for (int c = 0; c < channels; ++c) {
        const S north = __shfl_up_sync(~0u, kept_.sum[c][1], 1),
                south = __shfl_up_sync(~0u, kept_.sum[c][3], 1);
        if (!to_add || c >= count) continue;
        const Index at = kept_.first + c * strides_.channel;
        add(at, from_west ? kept_.sum[c][0] + north : kept_.sum[c][0]);
        if (kept_.south) add(at + strides_.axis[1], from_west ? kept_.sum[c][2] + south : kept_.sum[c][2]);
        if (!kept_.east || into_east) continue;
        add(at + strides_.axis[0], kept_.sum[c][1]);
        if (kept_.south) add(at + strides_.axis[0] + strides_.axis[1], kept_.sum[c][3]);
      }
    } else {
      if (!to_add) return;
#pragma unroll
      for (int c = 0; c < channels; ++c) {
        if (c >= count) continue;
        const Index at = kept_.first + c * strides_.channel;
        add(at, kept_.sum[c][0]);
        if (kept_.east) add(at + strides_.axis[0], kept_.sum[c][1]);
      }
    }
  }
  __device__ __forceinline__ void add(Index at, S value) const { sums_.template add<fixed_point>(at, value); }

  const GradAccumulator<S> sums_;
  const SumStrides<Index, N> strides_;
  Slab kept_{};
};

}  // namespace internet::cuda
