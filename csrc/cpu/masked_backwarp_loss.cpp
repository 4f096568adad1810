#include "masked_backwarp_loss.h"

#include <numeric>

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

enum class Reduction { mean, sum, none };

struct Arguments {
  Tensor output, target, flow;
  OptionalTensor mask;
  math::Penalty norm;
  math::Padding padding;
  Reduction reduction;

  Arguments(const Tensor& output, const Tensor& target, const Tensor& flow, const OptionalTensor& mask,
            const std::string& norm_word, const std::string& reduction_word, const std::string& padding_word)
      : output(output), target(target), flow(flow), mask(mask) {
    norm = math::Penalty(index_of<3>("norm", norm_word, {"l1", "l2", "charbonnier"}));
    reduction = Reduction(index_of<3>("reduction", reduction_word, {"mean", "sum", "none"}));
    padding = math::Padding(index_of<3>("padding_mode", padding_word, {"border", "zeros", "valid"}));
    STD_TORCH_CHECK(output.dim() == 4, "output: expected (B, C, H, W)");
    constexpr int64_t longest = int64_t(1) << 24;  // float32 has no whole numbers for what is farther
    STD_TORCH_CHECK(height() <= longest && width() <= longest, "output: a side of more than 2^24 pixels");
    // The kernel's offsets in the rows of an image at hand have 32 bits, two a pixel.
    STD_TORCH_CHECK((height() + 2) * (width() + 16) < int64_t(1) << 30,
                    "output: more than 2^30 pixels in an image");
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
  std::array<int64_t, 4> sizes() const { return {batch(), channels(), height(), width()}; }
  bool empty() const { return output.numel() == 0; }
  bool local() const { return reduction == Reduction::none; }
  double scale() const { return reduction == Reduction::mean ? 1.0 / double(output.numel()) : 1.0; }
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

struct Wanted {
  bool loss = false, output = false, target = false, flow = false, mask = false;
};

// In the order of Wanted; what is not wanted is empty.
using Results = std::tuple<Tensor, Tensor, Tensor, Tensor, Tensor>;

template <class S>
void fill_zero(Tensor& tensor) {
  std::fill_n(static_cast<S*>(tensor.data_ptr()), tensor.numel(), S(0));
}

// The bands an image is cut in: as many as give every thread the same number. Rows that the flow reads
// across a cut are done on both of its sides, so there are no more.
int64_t bands_of(const Arguments& a) {
  constexpr int64_t least_rows = 32;
  const int64_t threads = torch::stable::get_num_threads();
  const int64_t wanted = std::min(threads / std::gcd(threads, a.batch()), a.height() / least_rows);
  // The kernel's offsets in a band of the output's gradient have 32 bits.
  constexpr int64_t most_pixels = int64_t(1) << 26;
  const int64_t needed = (a.height() * (a.width() + 16) + most_pixels - 1) / most_pixels;
  return std::clamp(std::max(wanted, needed), int64_t(1), a.height());
}

// The gradient of the loss as the kernel wants it: one each pixel, or one for all, 1 unless it is given.
template <class S>
Strided<const S, 4> grad_of_loss(const Arguments& a, const OptionalTensor& grad_loss) {
  static constexpr S one = 1;
  if (!grad_loss) return {.data = &one};
  if (a.local()) return strided<const S, 4>(*grad_loss);
  return {.data = static_cast<const S*>(grad_loss->data_ptr())};
}

// The gradient of the coarse mask, from that of its rows at full height.
template <class T, class S = opmath<T>>
void fold_mask(const Arguments& a, const Tensor& rows, Tensor& coarse) {
  BackwarpMaskFold<T> p{.height = coarse.size(2),
                        .width = coarse.size(3),
                        .ratio = a.ratio(),
                        .rows = static_cast<const S*>(rows.data_ptr()),
                        .coarse = static_cast<S*>(coarse.data_ptr())};
  run(backwarp_mask_fold_kernel<T>(), p, a.batch() * p.height,
      elements_per_thread / (3 * p.ratio * p.width + 1));
}

template <class T, class S = opmath<T>>
void compute(const Arguments& a, const OptionalTensor& grad_loss, Wanted wanted, Results& results) {
  auto& [loss, output, target, flow, mask] = results;
  const int64_t bands = bands_of(a), grain = elements_per_thread / (a.row_elements() + 1);
  const bool folds = wanted.mask && a.ratio() > 1;
  Tensor mask_rows =
      folds ? empty<4>({a.batch(), 1, a.height(), a.width() / a.ratio()}, motion_type(a.output), a.output)
            : mask;
  std::vector<double> row_loss(wanted.loss && !a.local() ? a.batch() * a.height() : 0);
  std::vector<RowRange> ranges(wanted.output && bands > 1 ? a.batch() * a.height() : 0);
  auto of = [](auto& list) { return list.empty() ? nullptr : list.data(); };
  MaskedBackwarpLoss<T> p{.in = a.inputs<T>(),
                          .bands = bands,
                          .ranges = of(ranges),
                          .row_loss = of(row_loss),
                          .local = wanted.loss && a.local() ? static_cast<S*>(loss.data_ptr()) : nullptr,
                          .grad_loss = grad_of_loss<S>(a, grad_loss),
                          .grad_scale = a.scale(),
                          .grad_output = wanted.output ? strided<S, 4>(output) : Strided<S, 4>{},
                          .grad_target = wanted.target ? strided<S, 4>(target) : Strided<S, 4>{},
                          .grad_flow = wanted.flow ? static_cast<S*>(flow.data_ptr()) : nullptr,
                          .grad_mask = wanted.mask ? static_cast<S*>(mask_rows.data_ptr()) : nullptr};
  if (p.ranges != nullptr) {
    BackwarpRowRanges<T> r{.in = p.in, .ranges = ranges.data()};
    run(backwarp_row_ranges_kernel<T>(), r, int64_t(ranges.size()), grain);
  }
  run(masked_backwarp_loss_kernel<T>(), p, a.batch() * bands, grain * bands / a.height());
  if (folds) fold_mask<T>(a, mask_rows, mask);
  if (p.row_loss == nullptr) return;
  const double sum = std::accumulate(row_loss.begin(), row_loss.end(), 0.0);
  *static_cast<S*>(loss.data_ptr()) = S(sum * a.scale());
}

// Of no pixels, or only of no channels: sums of nothing, of which the mean is 0 / 0.
template <class S>
void fill_empty(const Arguments& a, Wanted wanted, Results& results) {
  auto& [loss, output, target, flow, mask] = results;
  if (wanted.loss) fill_zero<S>(loss);
  if (wanted.loss && a.reduction == Reduction::mean) *static_cast<S*>(loss.data_ptr()) = std::nan("");
  if (wanted.flow) fill_zero<S>(flow);
  if (wanted.mask) fill_zero<S>(mask);
}

// All in the type of the arithmetic.
Results evaluate(const Arguments& a, const OptionalTensor& grad_loss, Wanted wanted) {
  const ScalarType type = motion_type(a.output);
  const int64_t b = a.batch(), height = a.height(), width = a.width(), r = a.ratio();
  Results results{!wanted.loss ? nothing(a.flow)
                  : a.local()  ? empty<4>({b, 1, height, width}, type, a.output)
                               : empty<0>({}, type, a.output),
                  wanted.output ? empty_image(a.sizes(), type, a.output) : nothing(a.flow),
                  wanted.target ? empty_image(a.sizes(), type, a.target) : nothing(a.flow),
                  wanted.flow ? empty<4>({b, 2, height, width}, type, a.output) : nothing(a.flow),
                  wanted.mask ? empty<4>({b, 1, height / r, width / r}, type, a.output) : nothing(a.flow)};
  with_storage_type(a.output.scalar_type(), [&](auto storage) {
    using T = decltype(storage);
    if (a.empty()) {
      fill_empty<opmath<T>>(a, wanted, results);
    } else {
      compute<T>(a, grad_loss, wanted, results);
    }
  });
  return results;
}

Tensor forward(Tensor output, Tensor target, Tensor flow, OptionalTensor confidence, std::string norm,
               std::string reduction, std::string padding_mode) {
  const Arguments a(output, target, flow, confidence, norm, reduction, padding_mode);
  return std::get<0>(evaluate(a, {}, {.loss = true}));
}

// The gradient of an image in the image's type.
Tensor rounded(Tensor gradient, const Tensor& image, bool wanted) {
  if (!wanted) return nothing(image);
  if (gradient.scalar_type() == image.scalar_type()) return gradient;
  Tensor result = empty_image_like(image);
  return torch::stable::copy_(result, gradient);
}

using Gradients = std::tuple<Tensor, Tensor, Tensor, Tensor>;

Gradients backward(Tensor grad_loss, Tensor output, Tensor target, Tensor flow, OptionalTensor confidence,
                   std::string norm, std::string reduction, std::string padding_mode, bool need_output,
                   bool need_target, bool need_motion, bool /*deterministic: always*/) {
  const Arguments a(output, target, flow, confidence, norm, reduction, padding_mode);
  if (a.local()) {
    check_motion("grad_loss", grad_loss, output, {a.batch(), 1, a.height(), a.width()});
  } else {
    check_motion("grad_loss", grad_loss, output, {});
  }
  auto [_, grad_output, grad_target, grad_flow, grad_mask] =
      evaluate(a, grad_loss, {false, need_output, need_target, need_motion, need_motion && confidence});
  return {rounded(grad_output, output, need_output), rounded(grad_target, target, need_target), grad_flow,
          grad_mask};
}

Results forward_with_gradients(Tensor output, Tensor target, Tensor flow, OptionalTensor confidence,
                               std::string norm, std::string reduction, std::string padding_mode,
                               bool need_output, bool need_target, bool need_flow, bool need_confidence) {
  const Arguments a(output, target, flow, confidence, norm, reduction, padding_mode);
  STD_TORCH_CHECK(!a.local(), "reduction: expected mean or sum");
  return evaluate(a, {}, {true, need_output, need_target, need_flow, need_confidence && confidence});
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(internet, CPU, m) {
  m.impl("masked_backwarp_loss", TORCH_BOX(&forward));
  m.impl("masked_backwarp_loss_backward", TORCH_BOX(&backward));
  m.impl("masked_backwarp_loss_with_gradients", TORCH_BOX(&forward_with_gradients));
}

}  // namespace internet::cpu
