// The source as the kernels read it: some channels of a pixel side by side, so that one load fetches them.
// The source is read 2^N times for every anchor, and copied once.
#pragma once

#include <cuda_runtime_api.h>

#include "cuda/runtime/pixel_tiles.h"
#include "cuda/runtime/storage.h"

namespace internet::cuda {

template <class T>
constexpr int channels_of_a_pack = sizeof(T) == 8 ? 2 : 4;

// (B, packs, pixels, channels of a pack), aligned to packs. Channels past the last one are 0.
template <class T>
struct PackedSource {
  const T* data;
  int64_t image_stride, pixels;
};

template <class T, int N>
struct PackSource {
  Strided<const T, N + 2> source;  // (B, C, ...)
  int64_t batch, channels, size[N];
  T* packed;

  INTERNET_MEMBER int64_t packs() const {
    return (channels + channels_of_a_pack<T> - 1) / channels_of_a_pack<T>;
  }
};

template <class T, int N>
cudaError_t pack_source(const PackSource<T, N>& params, cudaStream_t stream);

}  // namespace internet::cuda
