// The arguments of soft_argmax and of its backward pass, checked, with their results allocated.
#pragma once

#include <tuple>

#include "arguments/checks.h"

namespace internet {

// A tensor over the pixels of images or volumes, with `before` axes before theirs; an image has one slice.
template <class T, int before>
Strided<T, before + 3> over_slices(const OptionalTensor& tensor) {
  Strided<T, before + 3> view;
  if (!tensor) return view;
  view.data = static_cast<T*>(tensor->data_ptr());
  const int64_t missing = before + 3 - tensor->dim();
  for (int64_t axis = 0; axis < tensor->dim(); ++axis) {
    view.stride[axis < before ? axis : axis + missing] = tensor->stride(axis);
  }
  return view;
}

struct SoftArgmaxArguments {
  Tensor logits;                // (B, K, H, W) or (B, K, D, H, W)
  OptionalTensor jacobian_map;  // (B, K or 1, 4 or 9, ...)
  double temperature;
  bool align_corners;

  SoftArgmaxArguments(const Tensor& logits, const OptionalTensor& jacobian_map, double temperature,
                      bool align_corners)
      : logits(logits), jacobian_map(jacobian_map), temperature(temperature), align_corners(align_corners) {
    STD_TORCH_CHECK((logits.dim() == 4 || logits.dim() == 5) && depth() * height() * width() > 0,
                    "logits: expected (B, K, H, W) or (B, K, D, H, W) with a pixel");
    if (!jacobian_map) return;
    const Tensor& map = *jacobian_map;
    const int64_t maps = map.dim() == logits.dim() + 1 && map.size(1) == 1 ? 1 : anchors();
    if (axes() == 2) {
      check_storage("jacobian_map", map, logits, {batch(), maps, 4, height(), width()});
    } else {
      check_storage("jacobian_map", map, logits, {batch(), maps, 9, depth(), height(), width()});
    }
  }

  int64_t axes() const { return logits.dim() - 2; }
  int64_t batch() const { return logits.size(0); }
  int64_t anchors() const { return logits.size(1); }
  int64_t depth() const { return axes() == 2 ? 1 : logits.size(2); }
  int64_t height() const { return logits.size(axes()); }
  int64_t width() const { return logits.size(axes() + 1); }
  // Whether all anchors share one map. With a single anchor, one map counts as its own.
  bool shared_map() const { return jacobian_map && jacobian_map->size(1) == 1 && anchors() != 1; }

  Tensor empty_matrices(bool wanted) const {
    const ScalarType type = compute_type(logits);
    return wanted ? empty<4>({batch(), anchors(), axes(), axes()}, type, logits)
                  : empty<1>({0}, type, logits);
  }
};

struct SoftArgmaxResults {
  Tensor kp;          // (B, K, n)
  Tensor jac;         // (B, K, n, n); empty without a map
  Tensor covariance;  // (B, K, n, n); empty if not wanted
  Tensor statistics;  // (B, K, 2): the largest logit, and the sum of the weights relative to it

  static SoftArgmaxResults empty_for(const SoftArgmaxArguments& a, bool covariance) {
    const ScalarType type = compute_type(a.logits);
    return {empty<3>({a.batch(), a.anchors(), a.axes()}, type, a.logits),
            a.empty_matrices(a.jacobian_map.has_value()), a.empty_matrices(covariance),
            empty<3>({a.batch(), a.anchors(), 2}, type, a.logits)};
  }
  std::tuple<Tensor, Tensor, Tensor, Tensor> result() const { return {kp, jac, covariance, statistics}; }
};

// The results of the forward pass, and the gradients with respect to them; a missing one is zero.
struct SoftArgmaxGradients {
  SoftArgmaxResults results;
  OptionalTensor grad_kp, grad_jac, grad_covariance;

  void check(const SoftArgmaxArguments& a) const {
    const int64_t batch = a.batch(), anchors = a.anchors(), n = a.axes();
    auto matrices = [&](const char* name, const Tensor& tensor) {
      check_computed(name, tensor, a.logits, {batch, anchors, n, n});
    };
    check_computed("kp", results.kp, a.logits, {batch, anchors, n});
    check_computed("statistics", results.statistics, a.logits, {batch, anchors, 2});
    if (a.jacobian_map) matrices("jac", results.jac);
    if (grad_kp) check_computed("grad_kp", *grad_kp, a.logits, {batch, anchors, n});
    if (grad_jac) matrices("grad_jac", *grad_jac);
    if (grad_covariance) matrices("grad_covariance", *grad_covariance);
    if (grad_covariance) matrices("covariance", results.covariance);
    STD_TORCH_CHECK(a.jacobian_map || !grad_jac, "grad_jac: goes with jacobian_map");
  }
};

// The gradients with respect to the arguments: allocated if they are wanted, and filled if they are zero.
struct SoftArgmaxInputGradients {
  OptionalTensor logits, map;
  bool map_is_zero = false;  // because jac has no gradient

  SoftArgmaxInputGradients(const SoftArgmaxArguments& a, const SoftArgmaxGradients& from, bool need_logits,
                           bool need_map) {
    if (need_logits) logits = empty_image_like(a.logits);
    if (need_map && a.jacobian_map) map = empty_maps_like(*a.jacobian_map);
    map_is_zero = map && !(from.grad_jac && a.anchors() > 0);
    if (map_is_zero) torch::stable::zero_(*map);
  }

  // The gradient that the kernel has to write.
  OptionalTensor map_to_write() const { return map_is_zero ? std::nullopt : map; }
  bool anything_to_write() const { return logits || map_to_write(); }

  std::tuple<Tensor, Tensor> result(const Tensor& like) const {
    return {logits.value_or(nothing(like)), map.value_or(nothing(like))};
  }
};

}  // namespace internet
