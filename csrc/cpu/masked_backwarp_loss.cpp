#include "masked_backwarp_loss.h"

#include "glue.h"

namespace internet::cpu {
namespace {

template <size_t N>
int index_of(const char* name, const std::string& word, const std::array<const char*, N>& words) {
  for (size_t i = 0; i < N; ++i) {
    if (word == words[i]) return int(i);
  }
  STD_TORCH_CHECK(false, name, ": unknown word ", word);
}

struct Arguments {
  Tensor output, target, flow;
  OptionalTensor mask;
  math::Penalty norm;
  math::Padding padding;

  Arguments(const Tensor& output, const Tensor& target, const Tensor& flow, const OptionalTensor& mask,
            const std::string& norm_word, const std::string& padding_word)
      : output(output), target(target), flow(flow), mask(mask) {
    norm = math::Penalty(index_of<3>("norm", norm_word, {"l1", "l2", "charbonnier"}));
    padding = math::Padding(index_of<3>("padding_mode", padding_word, {"border", "zeros", "valid"}));
    STD_TORCH_CHECK(output.dim() == 4, "output: expected (B, C, H, W)");
    STD_TORCH_CHECK((height() + 64) * (width() + 64) <= INT32_MAX / 8,
                    "output: more than 2^28 pixels in an image");
    check_like("target", target, output);
    check_motion("flow", flow, output, {batch(), 2, height(), width()});
    if (!mask) return;
    int64_t r = ratio();
    STD_TORCH_CHECK(r > 0 && (r & (r - 1)) == 0 && height() % r == 0 && width() % r == 0,
                    "confidence: expected (B, 1, H/2^i, W/2^i)");
    check_motion("confidence", *mask, output, {batch(), 1, height() / r, width() / r});
  }

  int64_t batch() const { return output.size(0); }
  int64_t channels() const { return output.size(1); }
  int64_t height() const { return output.size(2); }
  int64_t width() const { return output.size(3); }
  bool empty() const { return output.numel() == 0; }
  int64_t ratio() const { return mask && mask->size(2) > 0 ? height() / mask->size(2) : 1; }
  // What a thread has to do for a row of the image.
  int64_t row_elements() const { return (2 * channels() + 3) * width(); }

  template <class T>
  BackwarpInputs<T> inputs() const {
    using S = opmath<T>;
    return {.batch = batch(),
            .channels = channels(),
            .height = height(),
            .width = width(),
            .output = strided<const T, 4>(output),
            .target = strided<const T, 4>(target),
            .flow = strided<const S, 4>(flow),
            .mask = strided<const S, 4>(mask),
            .mask_ratio = ratio(),
            .norm = norm,
            .padding = padding};
  }
};

enum class Reduction { mean, sum, none };
Reduction reduction_of(const std::string& word) {
  return Reduction(index_of<3>("reduction", word, {"mean", "sum", "none"}));
}

template <class S>
void fill_zero(Tensor& tensor) {
  std::fill_n(static_cast<S*>(tensor.data_ptr()), tensor.numel(), S(0));
}

Tensor forward(Tensor output, Tensor target, Tensor flow, OptionalTensor confidence, std::string norm,
               std::string reduction_word, std::string padding_mode) {
  const Arguments a(output, target, flow, confidence, norm, padding_mode);
  const Reduction reduction = reduction_of(reduction_word);
  const bool local = reduction == Reduction::none;
  Tensor loss = local ? empty<4>({a.batch(), 1, a.height(), a.width()}, motion_type(output), output)
                      : empty<0>({}, motion_type(output), output);
  with_storage_type(output.scalar_type(), [&](auto storage) {
    using T = decltype(storage);
    using S = opmath<T>;
    const int64_t groups = (a.height() + backwarp_rows_per_task - 1) / backwarp_rows_per_task;
    std::vector<double> partial(a.empty() ? 0 : a.batch() * groups);
    MaskedBackwarpLoss<T> p{.in = a.inputs<T>(),
                            .partial = partial.data(),
                            .local = local ? static_cast<S*>(loss.data_ptr()) : nullptr};
    if (a.empty() && local) fill_zero<S>(loss);
    run(masked_backwarp_loss_kernel<T>(), p, int64_t(partial.size()),
        elements_per_thread / (a.row_elements() * backwarp_rows_per_task + 1));
    if (local) return;
    double sum = 0;
    for (double s : partial) sum += s;
    if (reduction == Reduction::mean) sum /= double(output.numel());  // 0 / 0 of nothing is NaN, as in torch
    *static_cast<S*>(loss.data_ptr()) = S(sum);
  });
  return loss;
}

// A task of the backward pass owns a band of rows of one image, and does again the rows around it that read
// into it: few for a smooth flow, all of them for one that jumps anywhere. So an image is cut as long as
// its bands together do at most half as many rows again. The cut depends on the flow but not on the
// number of threads.
class BackwarpBands {
 public:
  BackwarpBands(const std::vector<RowRange>& ranges, int64_t batch, int64_t height) : height_(height) {
    constexpr int64_t tasks_wanted = 16, least_rows = 64;
    largest_ = std::min((tasks_wanted + batch - 1) / batch, height / least_rows);
    largest_ = std::max<int64_t>(largest_, 1);
    for (int64_t b = 0; b < batch; ++b) {
      int64_t bands = largest_;
      while (bands > 1 && 2 * rows_done(ranges.data() + b * height, bands) > 3 * height)
        bands = (bands + 1) / 2;
      of_image_.push_back(int32_t(bands));
    }
  }
  int64_t largest() const { return largest_; }
  const int32_t* of_image() const { return of_image_.data(); }

 private:
  int64_t rows_done(const RowRange* ranges, int64_t bands) const {
    int64_t rows = 0;
    for (int64_t band = 0; band < bands; ++band) {
      const int64_t first = height_ * band / bands, end = height_ * (band + 1) / bands;
      for (int64_t y = 0; y < height_; ++y) {
        rows += (first <= y && y < end) || (ranges[y].first < end && ranges[y].last >= first);
      }
    }
    return rows;
  }

  int64_t height_, largest_;
  std::vector<int32_t> of_image_;
};

using Gradients = std::tuple<Tensor, Tensor, Tensor, Tensor>;

// The gradient of the loss as the kernel wants it, one value for all pixels or one each.
template <class S>
Strided<const S, 4> grad_of_loss(const Tensor& grad_loss, bool local) {
  if (local) return strided<const S, 4>(grad_loss);
  return {.data = static_cast<const S*>(grad_loss.data_ptr())};
}

// The gradient of the coarse mask, from that of its full-resolution rows.
template <class T, class S = opmath<T>>
Tensor fold_mask(const Arguments& a, const Tensor& fine) {
  const int64_t r = a.ratio(), height = a.height() / r, width = a.width() / r;
  Tensor coarse = empty<4>({a.batch(), 1, height, width}, fine.scalar_type(), fine);
  BackwarpMaskFold<T> p{.height = height,
                        .width = width,
                        .ratio = r,
                        .fine = static_cast<const S*>(fine.data_ptr()),
                        .coarse = static_cast<S*>(coarse.data_ptr())};
  run(backwarp_mask_fold_kernel<T>(), p, a.batch() * height, elements_per_thread / (3 * r * a.width() + 1));
  return coarse;
}

Gradients backward(Tensor grad_loss, Tensor output, Tensor target, Tensor flow, OptionalTensor confidence,
                   std::string norm, std::string reduction_word, std::string padding_mode, bool need_output,
                   bool need_target, bool need_motion, bool /*deterministic: always*/) {
  const Arguments a(output, target, flow, confidence, norm, padding_mode);
  const Reduction reduction = reduction_of(reduction_word);
  const bool local = reduction == Reduction::none, need_mask = need_motion && confidence;
  if (local) {
    check_motion("grad_loss", grad_loss, output, {a.batch(), 1, a.height(), a.width()});
  } else {
    check_motion("grad_loss", grad_loss, output, {});
  }
  const ScalarType type = motion_type(output);
  Tensor grad_output = need_output ? empty_image_like(output) : nothing(output);
  Tensor grad_target = need_target ? empty_image_like(target) : nothing(target);
  Tensor grad_flow =
      need_motion ? empty<4>({a.batch(), 2, a.height(), a.width()}, type, output) : nothing(flow);
  Tensor grad_mask =
      need_mask ? empty<4>({a.batch(), 1, a.height(), a.width()}, type, output) : nothing(flow);
  with_storage_type(output.scalar_type(), [&](auto storage) {
    using T = decltype(storage);
    using S = opmath<T>;
    if (a.empty()) {  // perhaps only in its channels
      if (need_motion) fill_zero<S>(grad_flow);
      if (need_mask) fill_zero<S>(grad_mask);
    } else {
      const int64_t grain = elements_per_thread / (a.row_elements() + 1);
      std::vector<RowRange> ranges(a.batch() * a.height());
      BackwarpRowRanges<T> r{.in = a.inputs<T>(), .ranges = ranges.data()};
      run(backwarp_row_ranges_kernel<T>(), r, int64_t(ranges.size()), grain);
      const BackwarpBands bands(ranges, a.batch(), a.height());
      MaskedBackwarpLossBackward<T> p{
          .in = a.inputs<T>(),
          .ranges = ranges.data(),
          .bands = bands.of_image(),
          .max_bands = bands.largest(),
          .grad_loss = grad_of_loss<S>(grad_loss, local),
          .grad_scale = reduction == Reduction::mean ? 1.0 / double(output.numel()) : 1.0,
          .grad_output = need_output ? strided<T, 4>(grad_output) : Strided<T, 4>{},
          .grad_target = need_target ? strided<T, 4>(grad_target) : Strided<T, 4>{},
          .grad_flow = need_motion ? static_cast<S*>(grad_flow.data_ptr()) : nullptr,
          .grad_mask = need_mask ? static_cast<S*>(grad_mask.data_ptr()) : nullptr};
      run(masked_backwarp_loss_backward_kernel<T>(), p, a.batch() * bands.largest(),
          grain * bands.largest() / a.height());
    }
    if (need_mask && a.ratio() > 1) grad_mask = fold_mask<T>(a, grad_mask);
  });
  return {grad_output, grad_target, grad_flow, grad_mask};
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(internet, CPU, m) {
  m.impl("masked_backwarp_loss", TORCH_BOX(&forward));
  m.impl("masked_backwarp_loss_backward", TORCH_BOX(&backward));
}

}  // namespace internet::cpu
