// Every operator of the library, as the dispatcher knows it: the API of the compiled part on one page.
//
// The public functions, which document the operators and check their arguments, are internet/ops/<name>.py;
// they call these operators with canonical inputs. The data tensor (logits, features, volume, output, source)
// has one of the four floating-point types; field, flow, key points, Jacobians and confidence have its
// arithmetic type (float64 for float64, float32 otherwise). `upsampling`, `padding_mode`, `norm` and
// `reduction` take the same words as the public functions. A gradient that a `need_...` flag declines is
// returned empty, and so is that of an input that was None. `deterministic` is
// torch.are_deterministic_algorithms_enabled(), which the stable ABI does not expose: it requests bitwise
// repeatable sums where a device would use atomics.
//
// The Python package refuses to load a library with other operators: it expects SCHEMA in
// internet/utils/library.py, which changes with the names in this file.
#include "torch_stable.h"

STABLE_TORCH_LIBRARY(internet, m) {
  // 0 baseline, 1 AVX2, 2 AVX-512: the instruction set the CPU kernels run with.
  m.def("cpu_isa() -> int");
  // Releases the memory kept for future outputs (csrc/cpu/runtime/output_pool.cpp); returns how many bytes
  // that was.
  m.def("clear_output_pool() -> int");

  m.def(
      "affine_mixture(Tensor logits, Tensor kp_source, Tensor kp_driving, Tensor? jac_source, "
      "Tensor? jac_driving, Tensor? background, float threshold, bool align_corners) -> Tensor field");
  m.def(
      "affine_mixture_backward(Tensor grad_field, Tensor logits, Tensor kp_source, Tensor kp_driving, "
      "Tensor? jac_source, Tensor? jac_driving, Tensor? background, float threshold, bool align_corners, "
      "bool need_logits, bool need_anchors) -> (Tensor logits, Tensor kp_source, Tensor kp_driving, "
      "Tensor jac_source, Tensor jac_driving, Tensor background)");

  m.def("upsample_motion(Tensor field, Tensor? confidence) -> (Tensor field, Tensor confidence)");
  m.def(
      "upsample_motion_backward(Tensor grad_field, Tensor? grad_confidence) "
      "-> (Tensor field, Tensor confidence)");

  m.def(
      "confidence_warp(Tensor features, Tensor field, Tensor? confidence, Tensor? blend, str upsampling, "
      "bool interpolate_align_corners, str padding_mode, bool align_corners) -> Tensor");
  m.def(
      "confidence_warp_backward(Tensor grad_output, Tensor features, Tensor field, Tensor? confidence, "
      "Tensor? blend, str upsampling, bool interpolate_align_corners, str padding_mode, bool align_corners, "
      "bool need_features, bool need_motion, bool need_blend, bool deterministic) "
      "-> (Tensor features, Tensor field, Tensor confidence, Tensor blend)");

  // One confidence for all levels, one for each, or none; one blend for each, or none. An empty tensor with
  // one axis stands for a level without one: torch.jit.trace does not record lists of optional tensors.
  m.def(
      "pyramid_warp(Tensor[] features, Tensor field, Tensor[] confidence, Tensor[] blend, str upsampling, "
      "bool interpolate_align_corners, str padding_mode, bool align_corners) -> Tensor[]");
  m.def(
      "pyramid_warp_backward(Tensor[] grad_outputs, Tensor[] features, Tensor field, Tensor[] confidence, "
      "Tensor[] blend, str upsampling, bool interpolate_align_corners, str padding_mode, bool "
      "align_corners, "
      "bool[] need_features, bool need_motion, bool[] need_blend, bool deterministic) "
      "-> (Tensor[] features, Tensor field, Tensor[] confidence, Tensor[] blend)");

  m.def(
      "volume_warp(Tensor volume, Tensor field, Tensor? confidence, str padding_mode, bool align_corners) "
      "-> Tensor");
  m.def(
      "volume_warp_backward(Tensor grad_output, Tensor volume, Tensor field, Tensor? confidence, "
      "str padding_mode, bool align_corners, bool need_volume, bool need_motion, bool deterministic) "
      "-> (Tensor volume, Tensor field, Tensor confidence)");

  m.def(
      "masked_backwarp_loss(Tensor output, Tensor target, Tensor flow, Tensor? confidence, str norm, "
      "str reduction, str padding_mode) -> Tensor");
  m.def(
      "masked_backwarp_loss_backward(Tensor grad_loss, Tensor output, Tensor target, Tensor flow, "
      "Tensor? confidence, str norm, str reduction, str padding_mode, bool need_output, bool need_target, "
      "bool need_motion, bool deterministic) "
      "-> (Tensor output, Tensor target, Tensor flow, Tensor confidence)");

  // The loss, mean or sum, and its gradients for a unit gradient of the loss. For 16-bit types the gradients
  // are float32, to be rounded once they have been scaled. Not every device has it.
  m.def(
      "masked_backwarp_loss_with_gradients(Tensor output, Tensor target, Tensor flow, Tensor? confidence, "
      "str norm, str reduction, str padding_mode, bool need_output, bool need_target, bool need_flow, "
      "bool need_confidence) -> (Tensor loss, Tensor output, Tensor target, Tensor flow, Tensor confidence)");

  m.def(
      "flow_confidence(Tensor flow_forward, Tensor flow_backward, float consistency_scale, "
      "float consistency_offset, bool with_boundary, float boundary_scale, float boundary_offset) -> Tensor");

  m.def(
      "soft_argmax(Tensor logits, Tensor? jacobian_map, float temperature, bool covariance, bool "
      "align_corners) "
      "-> (Tensor kp, Tensor jac, Tensor covariance, Tensor statistics)");
  // statistics (B, K, 2): a heat map's largest logit, and its sum of exp((logit - largest) / temperature).
  m.def(
      "soft_argmax_backward(Tensor? grad_kp, Tensor? grad_jac, Tensor? grad_covariance, Tensor logits, "
      "Tensor? jacobian_map, Tensor kp, Tensor jac, Tensor covariance, Tensor statistics, float temperature, "
      "bool align_corners, bool need_logits, bool need_map) -> (Tensor logits, Tensor jacobian_map)");

  m.def(
      "anchor_features(Tensor source, Tensor kp_source, Tensor kp_driving, Tensor? jac_source, "
      "Tensor? jac_driving, Tensor? background, Tensor? covariance_source, Tensor? covariance_driving, "
      "float variance, bool align_corners, bool grid_align_corners) -> Tensor");
  m.def(
      "anchor_features_backward(Tensor grad_output, Tensor source, Tensor kp_source, Tensor kp_driving, "
      "Tensor? jac_source, Tensor? jac_driving, Tensor? background, Tensor? covariance_source, "
      "Tensor? covariance_driving, float variance, bool align_corners, bool grid_align_corners, "
      "bool need_source, bool need_anchors, bool deterministic) -> (Tensor source, Tensor kp_source, "
      "Tensor kp_driving, Tensor jac_source, Tensor jac_driving, Tensor background, "
      "Tensor covariance_source, Tensor covariance_driving)");
}
