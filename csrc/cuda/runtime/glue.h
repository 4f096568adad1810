// From torch's tensors to the launchers of csrc/cuda: device, stream, errors, type dispatch.
#pragma once

#include <cuda_runtime_api.h>
#include <torch/csrc/stable/accelerator.h>
#include <torch/csrc/stable/macros.h>

#include "cuda/runtime/storage.h"
#include "torch_stable.h"

namespace internet::cuda {

// Makes a tensor's device current during its lifetime, and holds torch's current stream there.
class Device {
 public:
  explicit Device(const Tensor& tensor) : guard_(tensor.get_device_index()) {
    void* stream = nullptr;
    TORCH_ERROR_CODE_CHECK(aoti_torch_get_current_cuda_stream(tensor.get_device_index(), &stream));
    stream_ = static_cast<cudaStream_t>(stream);
  }
  cudaStream_t stream() const { return stream_; }

 private:
  torch::stable::accelerator::DeviceGuard guard_;
  cudaStream_t stream_;
};

// Checks what a launcher returned; raises as torch's own operators do.
inline void check(cudaError_t status) { STD_CUDA_CHECK(status); }

// Calls f(T{}) with the storage type of `type`.
template <class F>
auto with_storage_type(ScalarType type, F&& f) {
  return internet::with_storage_type<__nv_bfloat16, __half>(type, f);
}

// Calls f(T{}, std::integral_constant<int, n>{}) with the storage type and the number of axes: 2 or 3.
template <class F>
auto with_storage_type_and_axes(const Tensor& data, F&& f) {
  return internet::with_storage_type_and_axes<__nv_bfloat16, __half>(data, f);
}

template <class T>
T* data(const Tensor& tensor) {
  return static_cast<T*>(tensor.data_ptr());
}

// Whether the channels of each pixel of an image, or volume, lie side by side, so that `count` of them can be
// loaded or stored at once.
template <class T>
bool in_vectors(const Tensor& image, int count) {
  bool aligned = image.stride(1) == 1 && image.size(1) % count == 0;
  for (int64_t axis = 0; axis < image.dim(); ++axis) {
    aligned = aligned && (axis == 1 || image.size(axis) == 1 || image.stride(axis) % count == 0);
  }
  return aligned && reinterpret_cast<uintptr_t>(image.data_ptr()) % (count * sizeof(T)) == 0;
}

// Fills a dense tensor.
inline void fill_zero(const Tensor& tensor, cudaStream_t stream) {
  if (tensor.numel() == 0) return;
  const size_t bytes = tensor.numel() * tensor.element_size();
  check(cudaMemsetAsync(tensor.data_ptr(), 0, bytes, stream));
}

}  // namespace internet::cuda
