// Launching a kernel, for the .cu files.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

namespace internet::cuda {

constexpr int warp_size = 32;

template <class Params>
cudaError_t launch(void (*kernel)(Params), int64_t blocks, int threads, size_t shared_bytes,
                   cudaStream_t stream, const Params& params) {
  if (blocks == 0) return cudaSuccess;  // nothing to do; CUDA would report an error
  if (blocks > INT32_MAX) return cudaErrorInvalidConfiguration;
  cudaLaunchConfig_t config{};
  config.gridDim = dim3(unsigned(blocks));
  config.blockDim = dim3(unsigned(threads));
  config.dynamicSmemBytes = shared_bytes;
  config.stream = stream;
  return cudaLaunchKernelEx(&config, kernel, params);
}

// A thread for each of `count` items.
template <class Params>
cudaError_t launch_each(void (*kernel)(Params), int64_t count, cudaStream_t stream, const Params& params) {
  constexpr int threads = 256;
  return launch(kernel, (count + threads - 1) / threads, threads, 0, stream, params);
}

}  // namespace internet::cuda
