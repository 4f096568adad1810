// The arguments of the back-warping loss, checked, whatever device they are on.
#pragma once

#include "math/masked_backwarp_loss.h"
#include "stable.h"

namespace internet {

template <size_t N>
int index_of_word(const char* name, const std::string& word, const std::array<const char*, N>& words) {
  for (size_t i = 0; i < N; ++i) {
    if (word == words[i]) return int(i);
  }
  STD_TORCH_CHECK(false, name, ": unknown word ", word);
}

enum class Reduction { mean, sum, none };

struct BackwarpArguments {
  Tensor output, target, flow;
  OptionalTensor mask;
  math::Penalty norm;
  Reduction reduction;
  math::Padding padding;
  int mask_steps = 0;  // progressive 2x steps from the mask's size to the frames'

  BackwarpArguments(const Tensor& output, const Tensor& target, const Tensor& flow,
                    const OptionalTensor& mask, const std::string& norm_word,
                    const std::string& reduction_word, const std::string& padding_word)
      : output(output), target(target), flow(flow), mask(mask) {
    norm = math::Penalty(index_of_word<3>("norm", norm_word, {"l1", "l2", "charbonnier"}));
    reduction = Reduction(index_of_word<3>("reduction", reduction_word, {"mean", "sum", "none"}));
    padding = math::Padding(index_of_word<3>("padding_mode", padding_word, {"border", "zeros", "valid"}));
    STD_TORCH_CHECK(output.dim() == 4, "output: expected (B, C, H, W)");
    check_like("target", target, output);
    check_motion("flow", flow, output, {batch(), 2, height(), width()});
    if (!mask) return;
    STD_TORCH_CHECK(mask->dim() == 4, "confidence: expected (B, 1, H/2^i, W/2^i)");
    const int64_t h = mask->size(2), w = mask->size(3);
    while (h > 0 && h << mask_steps < height()) ++mask_steps;
    STD_TORCH_CHECK(h << mask_steps == height() && w << mask_steps == width(),
                    "confidence: expected (B, 1, H/2^i, W/2^i)");
    check_motion("confidence", *mask, output, {batch(), 1, h, w});
  }

  int64_t batch() const { return output.size(0); }
  int64_t channels() const { return output.size(1); }
  int64_t height() const { return output.size(2); }
  int64_t width() const { return output.size(3); }
  bool local() const { return reduction == Reduction::none; }
  // What a sum is divided by; of nothing, 0: the mean of nothing is NaN, as in torch.
  double divisor() const { return reduction == Reduction::mean ? double(output.numel()) : 1.0; }

  void check_grad_loss(const Tensor& grad_loss) const {
    if (local()) {
      check_motion("grad_loss", grad_loss, output, {batch(), 1, height(), width()});
    } else {
      check_motion("grad_loss", grad_loss, output, {});
    }
  }
};

}  // namespace internet
