#include "cuda/runtime/glue.h"

#include "arguments/upsample_motion.h"
#include "cuda/upsample_motion/kernels.h"

namespace internet::cuda {
namespace {

using Maps = std::tuple<Tensor, Tensor>;

Maps forward(Tensor field, OptionalTensor confidence) {
  const UpsampleMotionArguments a(field, confidence);
  const Device device(field);
  with_compute_type(
      field, [&](auto scalar) { check(upsample_motion(a.views<decltype(scalar)>(), device.stream())); });
  return a.fine.result();
}

Maps backward(Tensor grad_field, OptionalTensor grad_confidence) {
  const UpsampleMotionBackwardArguments a(grad_field, grad_confidence);
  const Device device(grad_field);
  with_compute_type(grad_field, [&](auto scalar) {
    check(upsample_motion_backward(a.views<decltype(scalar)>(), device.stream()));
  });
  return a.coarse.result();
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(internet, CUDA, m) {
  m.impl("upsample_motion", TORCH_BOX(&forward));
  m.impl("upsample_motion_backward", TORCH_BOX(&backward));
}

}  // namespace internet::cuda
