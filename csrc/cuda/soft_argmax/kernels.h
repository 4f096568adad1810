// Parameters of the soft-argmax kernels, and their launchers. A block does a tile of pixels of one or several
// anchors of an image.
#pragma once

#include <cuda_runtime_api.h>

#include "arguments/strided.h"
#include "cuda/runtime/pixel_tiles.h"
#include "cuda/runtime/storage.h"
#include "math/soft_argmax.h"

namespace internet::cuda {

// Sums over some pixels of a heat map, relative to the largest logit among them.
template <class S>
struct alignas(4 * sizeof(S)) HeatPartial {
  S largest;
  math::HeatSums<S> sums;
};

template <class T>
struct HeatMaps {
  using S = opmath<T>;
  PixelGrid<S> grid;
  Strided<const T, 4> logits;  // (B, K, H, W)
  Strided<const T, 5> map;     // (B, K or 1, 4, H, W); no data: none
  int64_t anchors;
  bool shared_map;  // one map for all anchors
  S per_temperature;

  INTERNET_MEMBER int64_t map_of(int64_t anchor) const { return shared_map ? 0 : anchor; }
};

template <class T>
struct SoftArgmaxForward {
  using S = opmath<T>;
  HeatMaps<T> in;
  int64_t tiles;             // of a heat map, as tiles_of() says
  HeatPartial<S>* partials;  // (B, K, tiles)
};

// From the sums over the tiles of each heat map to the results, contiguous.
template <class S>
struct SoftArgmaxMerge {
  int64_t planes, tiles;  // B * K
  const HeatPartial<S>* partials;
  S per_temperature;
  S* kp;          // (B, K, 2)
  S* jac;         // (B, K, 2, 2); null without a map
  S* statistics;  // (B, K, 2): the largest logit, and the sum of e relative to it
};

template <class T>
struct SoftArgmaxBackward {
  using S = opmath<T>;
  HeatMaps<T> in;
  Strided<const S, 3> kp, statistics, grad_kp;  // the gradients: no data is zeros
  Strided<const S, 4> jac, grad_jac;
  Strided<T, 4> grad_logits;  // no data: not wanted
  Strided<T, 5> grad_map;     // no data: not wanted
};

template <class T>
int64_t tiles_of(const HeatMaps<T>& in);

template <class T>
cudaError_t soft_argmax_forward(const SoftArgmaxForward<T>& params, cudaStream_t stream);
template <class S>
cudaError_t soft_argmax_merge(const SoftArgmaxMerge<S>& params, cudaStream_t stream);
template <class T>
cudaError_t soft_argmax_backward(const SoftArgmaxBackward<T>& params, cudaStream_t stream);

}  // namespace internet::cuda
