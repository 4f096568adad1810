// Included before csrc/cuda's glue and the schemas: makes operators of CUDA tensors operators of CPU
// tensors, in their own namespace, and uses the emulator's device, stream and errors.
#pragma once

#include <torch/csrc/stable/accelerator.h>
#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/macros.h>

#include <stdexcept>
#include <string>

#include "../emulator.h"

#undef STABLE_TORCH_LIBRARY
#define STABLE_TORCH_LIBRARY(ns, m) _STABLE_TORCH_LIBRARY_FRAGMENT(internet_emulated, m, C10_UID)
#undef STABLE_TORCH_LIBRARY_IMPL
#define STABLE_TORCH_LIBRARY_IMPL(ns, key, m) _STABLE_TORCH_LIBRARY_IMPL(internet_emulated, CPU, m, C10_UID)

#undef STD_CUDA_CHECK
#define STD_CUDA_CHECK(expression) emulated::throw_failure(int(expression))

namespace emulated {
inline void throw_failure(int status) {
  if (status == 0) return;
  throw std::runtime_error("CUDA error " + std::to_string(status) + ": " + last_failure());
}
}  // namespace emulated

namespace torch::stable::accelerator {
struct NoGuard {
  explicit NoGuard(int32_t) {}
};
}  // namespace torch::stable::accelerator
#define DeviceGuard NoGuard

inline AOTITorchError emulated_stream(int32_t, void** stream) {
  *stream = emulated::current_stream();
  return 0;
}
#define aoti_torch_get_current_cuda_stream emulated_stream
