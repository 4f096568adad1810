#include <numeric>

#include "arguments/masked_backwarp_loss.h"
#include "cpu/masked_backwarp_loss/kernels.h"
#include "cpu/runtime/launch.h"

namespace internet::cpu {
namespace {

// In addition to the checks for every device: the kernel uses 32-bit offsets into the rows of an image, with
// two values per pixel.
void check_size(const BackwarpArguments& a) {
  STD_TORCH_CHECK((a.height() + 2) * (a.width() + 16) < int64_t(1) << 30,
                  "output: more than 2^30 pixels in an image");
}

// Nanoseconds for each value that is read, without gradients.
constexpr double value_time = 0.5;

// How many rows of the image make waking a thread worthwhile.
int64_t rows_per_thread(const BackwarpArguments& a) {
  return tasks_per_thread(value_time * (2 * a.channels() + 3) * a.width());
}

struct Wanted {
  bool loss = false, output = false, target = false, flow = false, mask = false;
};

// In the order of Wanted; what is not wanted is empty.
using Results = std::tuple<Tensor, Tensor, Tensor, Tensor, Tensor>;

template <class S>
void fill_zero(Tensor& tensor) {
  std::fill_n(static_cast<S*>(tensor.data_ptr()), tensor.numel(), S(0));
}

// How many bands an image is cut into: enough to give every thread the same number, but none too small to be
// worth waking a thread. No more than that, because rows whose flow crosses a cut are computed on both sides.
int64_t bands_of(const BackwarpArguments& a) {
  const int64_t threads = usable_threads(), least_rows = std::max<int64_t>(32, rows_per_thread(a));
  const int64_t wanted = std::min(threads / std::gcd(threads, a.batch()), a.height() / least_rows);
  // The kernel uses 32-bit offsets in a band of the output's gradient.
  constexpr int64_t most_pixels = int64_t(1) << 26;
  const int64_t needed = (a.height() * (a.width() + 16) + most_pixels - 1) / most_pixels;
  return std::clamp(std::max(wanted, needed), int64_t(1), a.height());
}

// One value per pixel, or one for all; 1 if none is given.
template <class S>
Strided<const S, 4> grad_of_loss(const BackwarpArguments& a, const OptionalTensor& grad_loss) {
  static constexpr S one = 1;
  return grad_loss ? a.grad_of_loss<S>(*grad_loss) : Strided<const S, 4>{.data = &one};
}

// The gradient of the coarse mask, from the gradient of its rows at full height.
template <class T, class S = opmath<T>>
void fold_mask(const BackwarpArguments& a, const Tensor& rows, Tensor& coarse) {
  BackwarpMaskFold<T> p{.height = coarse.size(2),
                        .width = coarse.size(3),
                        .ratio = int64_t(1) << a.mask_steps,
                        .rows = static_cast<const S*>(rows.data_ptr()),
                        .coarse = static_cast<S*>(coarse.data_ptr())};
  run(backwarp_mask_fold_kernel<T>(), p, a.batch() * p.height,
      tasks_per_thread(value_time * 3 * p.ratio * p.width));
}

template <class T, class S = opmath<T>>
void compute(const BackwarpArguments& a, const OptionalTensor& grad_loss, Wanted wanted, Results& results) {
  auto& [loss, output, target, flow, mask] = results;
  const int64_t bands = bands_of(a), grain = rows_per_thread(a);
  const bool folds = wanted.mask && a.mask_steps > 0;
  Tensor mask_rows =
      folds ? empty<4>({a.batch(), 1, a.height(), a.mask_width()}, compute_type(a.output), a.output) : mask;
  std::vector<double> row_loss(wanted.loss && !a.local() ? a.batch() * a.height() : 0);
  std::vector<RowRange> ranges(wanted.output && bands > 1 ? a.batch() * a.height() : 0);
  auto of = [](auto& list) { return list.empty() ? nullptr : list.data(); };
  MaskedBackwarpLoss<T> p{.in = a.inputs<T>(),
                          .bands = bands,
                          .ranges = of(ranges),
                          .row_loss = of(row_loss),
                          .local = wanted.loss && a.local() ? static_cast<S*>(loss.data_ptr()) : nullptr,
                          .grad_loss = grad_of_loss<S>(a, grad_loss),
                          .grad_scale = 1.0 / a.divisor(),
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
  *static_cast<S*>(loss.data_ptr()) = S(sum * (1.0 / a.divisor()));
}

// For inputs without pixels, or without channels: the sum of nothing is 0, and its mean 0 / 0.
template <class S>
void fill_empty(const BackwarpArguments& a, Wanted wanted, Results& results) {
  auto& [loss, output, target, flow, mask] = results;
  if (wanted.loss) fill_zero<S>(loss);
  if (wanted.loss && a.reduction == Reduction::mean) *static_cast<S*>(loss.data_ptr()) = std::nan("");
  if (wanted.flow) fill_zero<S>(flow);
  if (wanted.mask) fill_zero<S>(mask);
}

// Everything is in the arithmetic type.
Results evaluate(const BackwarpArguments& a, const OptionalTensor& grad_loss, Wanted wanted) {
  auto image = [&](const Tensor& like) {
    return empty_image<4>({a.batch(), a.channels(), a.height(), a.width()}, compute_type(like), like);
  };
  Results results{
      wanted.loss ? a.empty_loss() : nothing(a.flow), wanted.output ? image(a.output) : nothing(a.flow),
      wanted.target ? image(a.target) : nothing(a.flow), wanted.flow ? a.empty_map(2) : nothing(a.flow),
      wanted.mask ? a.empty_mask() : nothing(a.flow)};
  with_storage_type(a.output.scalar_type(), [&](auto storage) {
    using T = decltype(storage);
    if (a.output.numel() == 0) {
      fill_empty<opmath<T>>(a, wanted, results);
    } else {
      compute<T>(a, grad_loss, wanted, results);
    }
  });
  return results;
}

Tensor forward(Tensor output, Tensor target, Tensor flow, OptionalTensor confidence, std::string norm,
               std::string reduction, std::string padding_mode) {
  const BackwarpArguments a(output, target, flow, confidence, norm, reduction, padding_mode);
  check_size(a);
  return std::get<0>(evaluate(a, {}, {.loss = true}));
}

// The gradient of an image, converted to the image's type.
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
  const BackwarpArguments a(output, target, flow, confidence, norm, reduction, padding_mode);
  check_size(a);
  a.check_grad_loss(grad_loss);
  auto [_, grad_output, grad_target, grad_flow, grad_mask] =
      evaluate(a, grad_loss, {false, need_output, need_target, need_motion, need_motion && confidence});
  return {rounded(grad_output, output, need_output), rounded(grad_target, target, need_target), grad_flow,
          grad_mask};
}

Results forward_with_gradients(Tensor output, Tensor target, Tensor flow, OptionalTensor confidence,
                               std::string norm, std::string reduction, std::string padding_mode,
                               bool need_output, bool need_target, bool need_flow, bool need_confidence) {
  const BackwarpArguments a(output, target, flow, confidence, norm, reduction, padding_mode);
  check_size(a);
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
