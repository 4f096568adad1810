// Kernels with one fault each, and one without, for test_emulator.py: the emulator must report the faults.
#include <cstring>

namespace internet::cuda {
namespace {

extern __shared__ __align__(32) unsigned char shared_memory[];

struct Parameters {
  int fault;
  float* out;
};

// Neighbours exchange their numbers: through shared memory, then within the warp.
__global__ void __launch_bounds__(64) kernel(Parameters p) {
  __shared__ float numbers[64];
  const int thread = threadIdx.x;
  numbers[thread] = float(thread);
  if (p.fault != 1) __syncthreads();
  float sum = numbers[63 - thread];
  if (p.fault == 2 && thread < 32) return;
  if (p.fault == 3) {
    if (thread < 32) {
      __syncthreads();
    } else {
      __syncthreads();
    }
  }
  __syncthreads();
  if (p.fault == 4 && thread % 32 == 7) return;
  if (p.fault == 5 && thread % 32 == 7) {
    sum += __shfl_xor_sync(~0u, sum, 1);
  } else {
    sum += __shfl_xor_sync(p.fault == 6 ? ~1u : ~0u, sum, 1);
  }
  if (p.fault == 7) sum += float4(*reinterpret_cast<float4*>(p.out + 1)).x;
  if (p.fault == 8) shared_memory[16 + thread] = 1;
  if (p.fault == 9) sum += numbers[63];
  if (p.fault == 10) sum += reinterpret_cast<float*>(shared_memory)[0];
  if (p.fault == 13) sum += numbers[thread + 1];
  if (p.fault == 12) p.out[68 + thread] = sum;
  p.out[thread] = sum;
}

// One float more than static shared memory has room for.
__global__ void large_kernel(Parameters p) {
  __shared__ float numbers[(48 << 8) + 1];
  numbers[threadIdx.x] = 0;
  __syncthreads();
  p.out[threadIdx.x] = numbers[63 - threadIdx.x];
}

}  // namespace
}  // namespace internet::cuda

// A launch's error, or an empty string; then `out` has the threads' results.
extern "C" const char* launch(int fault, unsigned blocks, unsigned threads, size_t shared_bytes,
                              int allowed_bytes, int on_stream, float* out) {
  using namespace internet::cuda;
  static char said[1000];
  cudaLaunchConfig_t config{};
  config.gridDim = dim3(1, blocks);
  config.blockDim = dim3(threads);
  config.dynamicSmemBytes = shared_bytes;
  config.stream = on_stream ? static_cast<cudaStream_t>(emulated::current_stream()) : nullptr;
  cudaError_t status = cudaSuccess;
  try {
    if (allowed_bytes > 0) {
      status = cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, allowed_bytes);
    }
    if (status == cudaSuccess) {
      status = cudaLaunchKernelEx(&config, fault == 11 ? large_kernel : kernel, Parameters{fault, out});
    }
    std::strncpy(said, status == cudaSuccess ? "" : emulated::last_failure().c_str(), sizeof said - 1);
  } catch (const std::exception& error) {
    std::strncpy(said, error.what(), sizeof said - 1);
  }
  return said;
}
