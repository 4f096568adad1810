// What every operator checks before it relies on the sizes of an argument. This keeps the kernels from
// reading outside their tensors; the errors that users see come from Python, which describes arguments
// better.
#pragma once

#include <array>
#include <initializer_list>
#include <string>

#include "torch_stable.h"

namespace internet {

inline void check_shape(const char* name, const Tensor& tensor, std::initializer_list<int64_t> shape) {
  bool same = tensor.dim() == int64_t(shape.size());
  int64_t axis = 0;
  for (int64_t size : shape) same = same && tensor.size(axis++) == size;
  STD_TORCH_CHECK(same, name, ": unexpected shape");
}

inline void check_type(const char* name, const Tensor& tensor, ScalarType type, const Tensor& data) {
  STD_TORCH_CHECK(tensor.scalar_type() == type, name, ": unexpected dtype");
  STD_TORCH_CHECK(tensor.device() == data.device(), name, ": unexpected device");
}

// Requires this shape, and the type and device of `data`.
inline void check_storage(const char* name, const Tensor& tensor, const Tensor& data,
                          std::initializer_list<int64_t> shape) {
  check_shape(name, tensor, shape);
  check_type(name, tensor, data.scalar_type(), data);
}

// Requires this shape, and the arithmetic type and device of `data`.
inline void check_computed(const char* name, const Tensor& tensor, const Tensor& data,
                           std::initializer_list<int64_t> shape) {
  check_shape(name, tensor, shape);
  check_type(name, tensor, compute_type(data), data);
}

// Requires the shape, type and device of `data`.
inline void check_like(const char* name, const Tensor& tensor, const Tensor& data) {
  bool same = tensor.dim() == data.dim();
  for (int64_t axis = 0; same && axis < data.dim(); ++axis) same = tensor.size(axis) == data.size(axis);
  STD_TORCH_CHECK(same, name, ": unexpected shape");
  check_type(name, tensor, data.scalar_type(), data);
}

// The number of 2x steps from h x w to height x width, which must be a power of two times as large.
inline int upsampling_steps(const char* message, int64_t h, int64_t w, int64_t height, int64_t width) {
  int steps = 0;
  while (h > 0 && h << steps < height) ++steps;
  STD_TORCH_CHECK(h << steps == height && w << steps == width, message);
  return steps;
}

// The index of an option's value among the allowed ones.
template <size_t N>
int choice(const char* name, const std::string& value, const std::array<const char*, N>& values) {
  std::string expected;
  for (size_t i = 0; i < N; ++i) {
    if (value == values[i]) return int(i);
    expected += (i == 0 ? "" : i + 1 < N ? ", " : " or ") + std::string(values[i]);
  }
  STD_TORCH_CHECK(false, name, ": expected ", expected, ", got ", value);
}

}  // namespace internet
