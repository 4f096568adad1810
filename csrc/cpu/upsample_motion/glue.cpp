#include "arguments/upsample_motion.h"
#include "cpu/runtime/launch.h"
#include "cpu/upsample_motion/kernels.h"

namespace internet::cpu {
namespace {

using Maps = std::tuple<Tensor, Tensor>;

// Nanoseconds for each value that is read or written.
constexpr double value_time = 0.3;

Maps forward(Tensor field, OptionalTensor confidence) {
  const UpsampleMotionArguments a(field, confidence);
  with_compute_type(field, [&](auto scalar) {
    const auto p = a.views<decltype(scalar)>();
    const int64_t rows = p.width > 0 ? p.batch * 2 * p.height : 0;
    run(upsample_motion_kernel<decltype(scalar)>(), p, rows, tasks_per_thread(value_time * 6 * p.width));
  });
  return a.fine.result();
}

Maps backward(Tensor grad_field, OptionalTensor grad_confidence) {
  const UpsampleMotionBackwardArguments a(grad_field, grad_confidence);
  with_compute_type(grad_field, [&](auto scalar) {
    const auto p = a.views<decltype(scalar)>();
    const int64_t rows = p.width > 0 ? p.batch * p.height : 0;
    run(upsample_motion_backward_kernel<decltype(scalar)>(), p, rows,
        tasks_per_thread(value_time * 24 * p.width));
  });
  return a.coarse.result();
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(internet, CPU, m) {
  m.impl("upsample_motion", TORCH_BOX(&forward));
  m.impl("upsample_motion_backward", TORCH_BOX(&backward));
}

}  // namespace internet::cpu
