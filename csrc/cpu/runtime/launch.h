// From torch's tensors to the kernels of csrc/cpu: type dispatch and threads.
#pragma once

#include <algorithm>
#include <type_traits>

#include "cpu/runtime/isa.h"
#include "cpu/simd/simd.h"
#include "torch_stable.h"

namespace internet::cpu {

// f(T{}) with the storage type of `type`.
template <class F>
auto with_storage_type(ScalarType type, F&& f) {
  return internet::with_storage_type<BFloat16, Half>(type, f);
}

// Run tasks 0..count-1 on torch's threads, each thread at least `grain` of them. A kernel's result does not
// depend on how the tasks are shared out.
template <class P>
void run(Kernel<P> kernel, const P& params, int64_t count, int64_t grain) {
  if (count == 0) return;
  torch::stable::parallel_for(0, count, std::max<int64_t>(grain, 1),
                              [&](int64_t begin, int64_t end) { kernel(params, begin, end); });
}

// A thread is worth waking for about this many elements read or written.
constexpr int64_t elements_per_thread = 16384;

}  // namespace internet::cpu
