// The arguments of soft_argmax and of its backward pass, checked, with their results allocated.
#pragma once

#include <tuple>

#include "arguments/checks.h"

namespace internet {

struct SoftArgmaxArguments {
  Tensor logits;                // (B, K, H, W)
  OptionalTensor jacobian_map;  // (B, K or 1, 4, H, W)
  double temperature;
  bool align_corners;

  SoftArgmaxArguments(const Tensor& logits, const OptionalTensor& jacobian_map, double temperature,
                      bool align_corners)
      : logits(logits), jacobian_map(jacobian_map), temperature(temperature), align_corners(align_corners) {
    STD_TORCH_CHECK(logits.dim() == 4 && height() * width() > 0,
                    "logits: expected (B, K, H, W) with a pixel");
    if (!jacobian_map) return;
    const int64_t maps = jacobian_map->dim() == 5 && jacobian_map->size(1) == 1 ? 1 : anchors();
    check_storage("jacobian_map", *jacobian_map, logits, {batch(), maps, 4, height(), width()});
  }

  int64_t batch() const { return logits.size(0); }
  int64_t anchors() const { return logits.size(1); }
  int64_t height() const { return logits.size(2); }
  int64_t width() const { return logits.size(3); }
  // Whether all anchors read one map. One map for a single anchor is that anchor's own.
  bool shared_map() const { return jacobian_map && jacobian_map->size(1) == 1 && anchors() != 1; }
};

struct SoftArgmaxResults {
  Tensor kp;          // (B, K, 2)
  Tensor jac;         // (B, K, 2, 2); empty without a map
  Tensor statistics;  // (B, K, 2): the largest logit, and the sum of the weights relative to it

  static SoftArgmaxResults empty_for(const SoftArgmaxArguments& a) {
    const ScalarType type = compute_type(a.logits);
    const Tensor kp = empty<3>({a.batch(), a.anchors(), 2}, type, a.logits);
    return {kp, a.jacobian_map ? empty<4>({a.batch(), a.anchors(), 2, 2}, type, a.logits) : nothing(kp),
            empty<3>({a.batch(), a.anchors(), 2}, type, a.logits)};
  }
  std::tuple<Tensor, Tensor, Tensor> result() const { return {kp, jac, statistics}; }
};

// What the forward pass found, and the gradients with respect to it; one that is missing is zero.
struct SoftArgmaxGradients {
  SoftArgmaxResults results;
  OptionalTensor grad_kp, grad_jac;

  void check(const SoftArgmaxArguments& a) const {
    const int64_t batch = a.batch(), anchors = a.anchors();
    check_computed("kp", results.kp, a.logits, {batch, anchors, 2});
    check_computed("statistics", results.statistics, a.logits, {batch, anchors, 2});
    if (a.jacobian_map) check_computed("jac", results.jac, a.logits, {batch, anchors, 2, 2});
    if (grad_kp) check_computed("grad_kp", *grad_kp, a.logits, {batch, anchors, 2});
    if (grad_jac) check_computed("grad_jac", *grad_jac, a.logits, {batch, anchors, 2, 2});
    STD_TORCH_CHECK(a.jacobian_map || !grad_jac, "grad_jac: goes with jacobian_map");
  }
};

// The gradients with respect to the arguments: allocated where they are wanted, and filled where they are
// zero.
struct SoftArgmaxInputGradients {
  OptionalTensor logits, map;
  bool map_is_zero = false;  // without a gradient of jac

  SoftArgmaxInputGradients(const SoftArgmaxArguments& a, const SoftArgmaxGradients& from, bool need_logits,
                           bool need_map) {
    if (need_logits) logits = empty_image_like(a.logits);
    if (need_map && a.jacobian_map) map = empty_maps_like(*a.jacobian_map);
    map_is_zero = map && !(from.grad_jac && a.anchors() > 0);
    if (map_is_zero) torch::stable::zero_(*map);
  }

  // What is left for the kernel to write.
  OptionalTensor map_to_write() const { return map_is_zero ? std::nullopt : map; }
  bool anything_to_write() const { return logits || map_to_write(); }

  std::tuple<Tensor, Tensor> result(const Tensor& like) const {
    return {logits.value_or(nothing(like)), map.value_or(nothing(like))};
  }
};

}  // namespace internet
