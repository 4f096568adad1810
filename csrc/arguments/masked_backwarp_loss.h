// The arguments of masked_backwarp_loss, checked.
#pragma once

#include "arguments/checks.h"
#include "arguments/masked_backwarp_loss_views.h"

namespace internet {

enum class Reduction { mean, sum, none };

struct BackwarpArguments {
  Tensor output, target, flow;
  OptionalTensor mask;  // the public argument `confidence`
  math::Penalty norm;
  Reduction reduction;
  math::Padding padding;
  int mask_steps = 0;  // progressive 2x steps from the mask's size to the frames'

  BackwarpArguments(const Tensor& output, const Tensor& target, const Tensor& flow,
                    const OptionalTensor& confidence, const std::string& norm, const std::string& reduction,
                    const std::string& padding_mode)
      : output(output),
        target(target),
        flow(flow),
        mask(confidence),
        norm(math::Penalty(choice<3>("norm", norm, {"l1", "l2", "charbonnier"}))),
        reduction(Reduction(choice<3>("reduction", reduction, {"mean", "sum", "none"}))),
        padding(math::Padding(choice<3>("padding_mode", padding_mode, {"border", "zeros", "valid"}))) {
    STD_TORCH_CHECK(output.dim() == 4, "output: expected (B, C, H, W)");
    constexpr int64_t longest = int64_t(1) << 24;  // float32 does not represent every larger integer
    STD_TORCH_CHECK(height() <= longest && width() <= longest, "output: a side of more than 2^24 pixels");
    check_like("target", target, output);
    check_computed("flow", flow, output, {batch(), 2, height(), width()});
    if (!mask) return;
    constexpr const char* expected = "confidence: expected (B, 1, H/2^i, W/2^i)";
    STD_TORCH_CHECK(mask->dim() == 4, expected);
    mask_steps = upsampling_steps(expected, mask->size(2), mask->size(3), height(), width());
    check_computed("confidence", *mask, output, {batch(), 1, mask->size(2), mask->size(3)});
  }

  int64_t batch() const { return output.size(0); }
  int64_t channels() const { return output.size(1); }
  int64_t height() const { return output.size(2); }
  int64_t width() const { return output.size(3); }
  int64_t mask_height() const { return height() >> mask_steps; }
  int64_t mask_width() const { return width() >> mask_steps; }
  // Whether every pixel has its own loss, (B, 1, H, W).
  bool local() const { return reduction == Reduction::none; }
  // What the sum is divided by. For an empty image it is 0, and the mean NaN, as in torch.
  double divisor() const { return reduction == Reduction::mean ? double(output.numel()) : 1.0; }

  // Uninitialised, in the arithmetic type: the loss, and the mask's gradient.
  Tensor empty_loss() const { return local() ? empty_map(1) : empty<0>({}, compute_type(output), output); }
  Tensor empty_map(int64_t maps) const {
    return empty<4>({batch(), maps, height(), width()}, compute_type(output), output);
  }
  Tensor empty_mask() const {
    return empty<4>({batch(), 1, mask_height(), mask_width()}, compute_type(output), output);
  }

  void check_grad_loss(const Tensor& grad_loss) const {
    if (local()) {
      check_computed("grad_loss", grad_loss, output, {batch(), 1, height(), width()});
    } else {
      check_computed("grad_loss", grad_loss, output, {});
    }
  }

  // The gradient of the loss as kernels expect it: one value per pixel, or one for all, with strides 0.
  template <class S>
  Strided<const S, 4> grad_of_loss(const Tensor& grad_loss) const {
    if (local()) return strided<const S, 4>(grad_loss);
    return {.data = static_cast<const S*>(grad_loss.data_ptr())};
  }

  template <class T>
  BackwarpInputs<T> inputs() const {
    return {.batch = batch(),
            .channels = channels(),
            .height = height(),
            .width = width(),
            .output = strided<const T, 4>(output),
            .target = strided<const T, 4>(target),
            .flow = strided<const opmath<T>, 4>(flow),
            .mask = strided<const opmath<T>, 4>(mask),
            .mask_steps = mask_steps,
            .norm = norm,
            .padding = padding};
  }
};

}  // namespace internet
