// The only file that depends on torch: wraps its stable ABI in the few functions that the operators need.
//
// Built against torch >= 2.10's stable headers, a library works with every later torch.
#pragma once

#include <torch/csrc/inductor/aoti_torch/c/shim.h>
#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>
#include <torch/csrc/stable/tensor.h>
#include <torch/headeronly/core/ScalarType.h>
#include <torch/headeronly/util/Exception.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <initializer_list>
#include <optional>
#include <string>
#include <tuple>
#include <type_traits>
#include <vector>

#include "arguments/strided.h"

namespace internet {

using torch::headeronly::ScalarType;
using torch::stable::Tensor;
using OptionalTensor = std::optional<Tensor>;

// The arithmetic type of `data`, which coordinates and sums that go with it also have.
inline ScalarType compute_type(const Tensor& data) {
  return data.scalar_type() == ScalarType::Double ? ScalarType::Double : ScalarType::Float;
}

// Calls f(T{}) with the arithmetic type of `data`, float or double.
template <class F>
void with_compute_type(const Tensor& data, F&& f) {
  if (compute_type(data) == ScalarType::Double) {
    f(double{});
  } else {
    f(float{});
  }
}

// Calls f(T{}) with the storage type of the data; the 16-bit ones depend on the device.
template <class BFloat16, class Half, class F>
auto with_storage_type(ScalarType type, F&& f) {
  switch (type) {
    case ScalarType::Float:
      return f(float{});
    case ScalarType::Double:
      return f(double{});
    case ScalarType::BFloat16:
      return f(BFloat16{});
    case ScalarType::Half:
      return f(Half{});
    default:
      STD_TORCH_CHECK(false, "expected float32, float64, float16 or bfloat16");
  }
}

// Calls f(std::integral_constant<int, n>{}) with the number of axes of images, 2, or of volumes, 3, which
// `data` has after its batch and its channels.
template <class F>
auto with_axes(const Tensor& data, F&& f) {
  const int64_t n = data.dim() - 2;
  STD_TORCH_CHECK(n == 2 || n == 3, "expected images or volumes, of 2 or 3 axes");
  return n == 2 ? f(std::integral_constant<int, 2>{}) : f(std::integral_constant<int, 3>{});
}

// Calls f(T{}, std::integral_constant<int, n>{}) with both.
template <class BFloat16, class Half, class F>
auto with_storage_type_and_axes(const Tensor& data, F&& f) {
  return with_storage_type<BFloat16, Half>(data.scalar_type(), [&](auto storage) {
    return with_axes(data, [&](auto axes) { return f(storage, axes); });
  });
}

#if defined(USE_CUDA)
// aoti_torch_empty_strided is the fastest way to allocate memory in the stable ABI.
inline AtenTensorHandle allocate(int64_t dims, const int64_t* sizes, const int64_t* strides, ScalarType type,
                                 const Tensor& like) {
  AtenTensorHandle handle;
  int32_t device_type, device_index;
  TORCH_ERROR_CODE_CHECK(aoti_torch_get_device_type(like.get(), &device_type));
  TORCH_ERROR_CODE_CHECK(aoti_torch_get_device_index(like.get(), &device_index));
  TORCH_ERROR_CODE_CHECK(
      aoti_torch_empty_strided(dims, sizes, strides, int32_t(type), device_type, device_index, &handle));
  return handle;
}
#else
// On the CPU, csrc/cpu/runtime/output_pool.cpp provides the memory.
AtenTensorHandle allocate(int64_t dims, const int64_t* sizes, const int64_t* strides, ScalarType type,
                          const Tensor& like);
#endif

// Uninitialised memory on the device of `like`.
template <size_t N>
Tensor empty_strided(const std::array<int64_t, N>& sizes, const std::array<int64_t, N>& strides,
                     ScalarType type, const Tensor& like) {
  return Tensor(allocate(N, sizes.data(), strides.data(), type, like));
}

template <size_t N>
Tensor empty(const std::array<int64_t, N>& sizes, ScalarType type, const Tensor& like) {
  std::array<int64_t, N> strides;
  int64_t step = 1;
  for (size_t axis = N; axis-- > 0; step *= std::max<int64_t>(sizes[axis], 1)) strides[axis] = step;
  return empty_strided(sizes, strides, type, like);
}

// Takes the place of a tensor that is not wanted.
inline Tensor nothing(const Tensor& like) { return empty<1>({0}, like.scalar_type(), like); }

// Whether the axes lie in memory in this order, densely. Axes of size 1 may have any stride.
inline bool is_dense(const Tensor& tensor, std::initializer_list<int> order_from_last) {
  int64_t step = 1;
  for (int axis : order_from_last) {
    if (tensor.size(axis) != 1 && tensor.stride(axis) != step) return false;
    step *= tensor.size(axis);
  }
  return true;
}

// Whether an output for this image (B, C, H, W), or volume (B, C, D, H, W), should be channels last: if that
// is the only memory format it has.
inline bool prefers_channels_last(const Tensor& tensor) {
  if (tensor.numel() == 0) return false;
  if (tensor.dim() == 5) return is_dense(tensor, {1, 4, 3, 2, 0}) && !is_dense(tensor, {4, 3, 2, 1, 0});
  return is_dense(tensor, {1, 3, 2, 0}) && !is_dense(tensor, {3, 2, 1, 0});
}

// Uninitialised (B, C, H, W), or (B, C, D, H, W), in the memory format of `like`.
template <size_t N>
Tensor empty_image(const std::array<int64_t, N>& sizes, ScalarType type, const Tensor& like) {
  if (!prefers_channels_last(like)) return empty<N>(sizes, type, like);
  std::array<int64_t, N> strides;
  int64_t step = sizes[1];
  for (size_t axis = N; --axis > 1; step *= sizes[axis]) strides[axis] = step;
  strides[0] = step;
  strides[1] = 1;
  return empty_strided<N>(sizes, strides, type, like);
}

template <size_t N>
std::array<int64_t, N> sizes_of(const Tensor& tensor) {
  std::array<int64_t, N> sizes;
  for (size_t axis = 0; axis < N; ++axis) sizes[axis] = tensor.size(axis);
  return sizes;
}
inline Tensor empty_image_like(const Tensor& like, ScalarType type) {
  return like.dim() == 5 ? empty_image<5>(sizes_of<5>(like), type, like)
                         : empty_image<4>(sizes_of<4>(like), type, like);
}
inline Tensor empty_image_like(const Tensor& like) { return empty_image_like(like, like.scalar_type()); }

// Uninitialised (B, K, C, H, W), or (B, K, C, D, H, W), like a tensor of this shape: in the same order if its
// K*C planes lie like the channels of a channels_last image.
template <size_t N>
Tensor empty_maps(const std::array<int64_t, N>& sizes, const Tensor& like) {
  const bool channels_last = N == 6
                                 ? is_dense(like, {2, 1, 5, 4, 3, 0}) && !is_dense(like, {5, 4, 3, 2, 1, 0})
                                 : is_dense(like, {2, 1, 4, 3, 0}) && !is_dense(like, {4, 3, 2, 1, 0});
  if (like.numel() == 0 || !channels_last) return empty<N>(sizes, like.scalar_type(), like);
  std::array<int64_t, N> strides;
  int64_t step = 1;
  for (size_t axis : {size_t(2), size_t(1)}) strides[axis] = step, step *= sizes[axis];
  for (size_t axis = N; --axis > 2; step *= sizes[axis]) strides[axis] = step;
  strides[0] = step;
  return empty_strided<N>(sizes, strides, like.scalar_type(), like);
}
inline Tensor empty_maps_like(const Tensor& like) {
  return like.dim() == 6 ? empty_maps<6>(sizes_of<6>(like), like) : empty_maps<5>(sizes_of<5>(like), like);
}

template <class T, int N>
Strided<T, N> strided(const Tensor& tensor) {
  Strided<T, N> view;
  view.data = static_cast<T*>(tensor.data_ptr());
  for (int axis = 0; axis < N; ++axis) view.stride[axis] = tensor.stride(axis);
  return view;
}
template <class T, int N>
Strided<T, N> strided(const OptionalTensor& tensor) {
  return tensor ? strided<T, N>(*tensor) : Strided<T, N>{};
}

}  // namespace internet
