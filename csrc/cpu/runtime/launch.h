// From torch's tensors to the kernels of csrc/cpu: type dispatch and threads.
#pragma once

#include <algorithm>
#include <type_traits>

#include "cpu/runtime/isa.h"
#include "cpu/runtime/threads.h"
#include "cpu/simd/simd.h"
#include "torch_stable.h"

namespace internet::cpu {

// Calls f(T{}) with the storage type of `type`.
template <class F>
auto with_storage_type(ScalarType type, F&& f) {
  return internet::with_storage_type<BFloat16, Half>(type, f);
}

// Calls f(T{}, std::integral_constant<int, n>{}) with the storage type and the number of axes: 2 or 3.
template <class F>
auto with_storage_type_and_axes(const Tensor& data, F&& f) {
  return internet::with_storage_type_and_axes<BFloat16, Half>(data, f);
}

// How many threads can share a call.
inline int64_t usable_threads() { return can_wake_threads() ? torch::stable::get_num_threads() : 1; }

// Runs tasks 0..count-1 on torch's threads, at least `grain` of them on each (see tasks_per_thread). Work
// that is too small for two threads runs on the caller's and wakes no other. A kernel's result does not
// depend on how the tasks are distributed.
template <class P>
void run(Kernel<P> kernel, const P& params, int64_t count, int64_t grain) {
  if (count == 0) return;
  grain = std::max<int64_t>(grain, 1);
  if (count < 2 * grain || !can_wake_threads()) return kernel(params, 0, count);
  torch::stable::parallel_for(0, count, grain,
                              [&](int64_t begin, int64_t end) { kernel(params, begin, end); });
}

}  // namespace internet::cpu
