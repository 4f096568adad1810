// The arguments of upsample_motion and of its backward pass, checked, with their results allocated.
#pragma once

#include <tuple>

#include "arguments/checks.h"
#include "arguments/upsample_motion_views.h"

namespace internet {

// A field (B, h, w, 2) and its confidence (B, 1, h, w), contiguous; the latter is empty if there is none.
struct MotionMaps {
  Tensor field, confidence;

  MotionMaps(const Tensor& like, int64_t h, int64_t w, bool with_confidence)
      : field(empty<4>({like.size(0), h, w, 2}, like.scalar_type(), like)),
        confidence(with_confidence ? empty<4>({like.size(0), 1, h, w}, like.scalar_type(), like)
                                   : nothing(like)) {}

  std::tuple<Tensor, Tensor> result() const { return {field, confidence}; }
};

struct UpsampleMotionArguments {
  Tensor field;
  OptionalTensor confidence;
  MotionMaps fine;

  UpsampleMotionArguments(const Tensor& field, const OptionalTensor& confidence)
      : field(field), confidence(confidence), fine(check(field, confidence)) {}

  template <class T>
  UpsampleMotion<T> views() const {
    return {.field = strided<const T, 4>(field),
            .confidence = strided<const T, 4>(confidence),
            .fine_field = static_cast<T*>(fine.field.data_ptr()),
            .fine_confidence = confidence ? static_cast<T*>(fine.confidence.data_ptr()) : nullptr,
            .batch = field.size(0),
            .height = field.size(1),
            .width = field.size(2)};
  }

 private:
  static MotionMaps check(const Tensor& field, const OptionalTensor& confidence) {
    STD_TORCH_CHECK(field.dim() == 4, "field: expected (B, h, w, 2)");
    const int64_t batch = field.size(0), h = field.size(1), w = field.size(2);
    check_computed("field", field, field, {batch, h, w, 2});
    if (confidence) check_computed("confidence", *confidence, field, {batch, 1, h, w});
    return {field, 2 * h, 2 * w, confidence.has_value()};
  }
};

struct UpsampleMotionBackwardArguments {
  Tensor grad_field;
  OptionalTensor grad_confidence;
  MotionMaps coarse;  // the gradients of the operator's arguments

  UpsampleMotionBackwardArguments(const Tensor& grad_field, const OptionalTensor& grad_confidence)
      : grad_field(grad_field),
        grad_confidence(grad_confidence),
        coarse(check(grad_field, grad_confidence)) {}

  template <class T>
  UpsampleMotionBackward<T> views() const {
    return {.grad_fine_field = strided<const T, 4>(grad_field),
            .grad_fine_confidence = strided<const T, 4>(grad_confidence),
            .grad_field = static_cast<T*>(coarse.field.data_ptr()),
            .grad_confidence = grad_confidence ? static_cast<T*>(coarse.confidence.data_ptr()) : nullptr,
            .batch = coarse.field.size(0),
            .height = coarse.field.size(1),
            .width = coarse.field.size(2)};
  }

 private:
  static MotionMaps check(const Tensor& grad_field, const OptionalTensor& grad_confidence) {
    STD_TORCH_CHECK(grad_field.dim() == 4, "grad_field: expected (B, 2h, 2w, 2)");
    const int64_t batch = grad_field.size(0), h = grad_field.size(1) / 2, w = grad_field.size(2) / 2;
    check_computed("grad_field", grad_field, grad_field, {batch, 2 * h, 2 * w, 2});
    if (grad_confidence) {
      check_computed("grad_confidence", *grad_confidence, grad_field, {batch, 1, 2 * h, 2 * w});
    }
    return {grad_field, h, w, grad_confidence.has_value()};
  }
};

}  // namespace internet
