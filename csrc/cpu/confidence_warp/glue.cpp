#include <memory>
#include <vector>

#include "cpu/confidence_warp/kernels.h"
#include "cpu/confidence_warp/level.h"
#include "cpu/runtime/launch.h"
#include "cpu/sampling/reach.h"

namespace internet::cpu {
namespace {

int64_t rows_per_thread(const Tensor& features, int64_t values_per_pixel) {
  return elements_per_thread / (values_per_pixel * features.size(3) + 1);
}

template <class S>
std::vector<RowRange> row_ranges(const Tensor& features, const SampledMotion<S>& motion) {
  const int64_t rows = features.size(0) * motion.height;
  std::vector<RowRange> ranges(rows);
  RowRanges<S> p{.motion = motion, .row_ranges = ranges.data()};
  run(warp_row_ranges_kernel<S>(), p, rows, rows_per_thread(features, 1));
  return ranges;
}

// The samples of a batch in the order of their source rows, see SampleOrder.
template <class S>
class SortedSamples {
 public:
  SampleOrder<S> sort(const SampledMotion<S>& motion, int64_t batch) {
    const int64_t rows = batch * motion.height, pixels = rows * motion.width;
    integers_.reset(new int32_t[rows + batch + 6 * pixels]);
    weights_.reset(new S[4 * pixels]);
    int32_t *starts = integers_.get(), *numbers = starts + rows + batch;
    const SortSamples<S> p{motion, {starts, numbers, numbers + pixels, weights_.get()}};
    run(warp_sort_samples_kernel<S>(), p, batch, 1);
    return p.order;
  }

 private:
  std::unique_ptr<int32_t[]> integers_;
  std::unique_ptr<S[]> weights_;
};

// Whether to write past the caches: images that are too large for them, in whole lines.
template <class T>
bool streams(const Tensor& image) {
  constexpr int64_t line = 64, large = 16 << 20;
  const bool planes = image.stride(3) == 1;
  auto whole_lines = [](int64_t elements) { return elements * int64_t(sizeof(T)) % line == 0; };
  return image.numel() * int64_t(sizeof(T)) >= large &&
         reinterpret_cast<uintptr_t>(image.data_ptr()) % line == 0 &&
         whole_lines(image.size(planes ? 3 : 1)) && whole_lines(image.stride(2));
}

template <class S>
void motion_backward(const Tensor& features, const SampledMotion<S>& motion, S* corner_dots, int64_t groups,
                     WarpMotionGradient& gradient) {
  MotionBackward<S> p{
      .motion = motion,
      .batch = features.size(0),
      .groups = groups,
      .corner_dots = corner_dots,
      .grad_field = static_cast<S*>(gradient.field.data_ptr()),
      .grad_confidence = gradient.has_confidence ? static_cast<S*>(gradient.confidence.data_ptr()) : nullptr,
      .accumulate = gradient.started};
  const int64_t rows = features.size(0) * motion.height, grain = rows_per_thread(features, 4);
  run(warp_motion_gradient_kernel<S>(), p, rows, grain);
  run(warp_motion_fold_kernel<S>(), p, rows / motion.ratio(), grain / motion.ratio());
  gradient.started = true;
}

}  // namespace

Tensor WarpLevel::forward(const Tensor& features, const WarpMotion& motion) {
  const int steps = motion.steps_to(features);
  const int64_t batch = features.size(0), channels = features.size(1), height = features.size(2);
  Tensor output = empty_image_like(features);
  if (features.numel() == 0) return output;
  with_storage_type(features.scalar_type(), [&](auto storage) {
    using T = decltype(storage);
    ConfidenceWarp<T> p{.motion = motion.sampled<opmath<T>>(features, steps),
                        .channels = channels,
                        .block = channels,
                        .bands = 1,
                        .features = strided<const T, 4>(features),
                        .row_ranges = nullptr,
                        .output = strided<T, 4>(output),
                        .streaming = streams<T>(output)};
    if (channels_side_by_side(features) && channels_side_by_side(output)) {
      return run(warp_pixels_kernel<T>(), p, batch * height, rows_per_thread(features, channels));
    }
    const std::vector<RowRange> ranges = row_ranges(features, p.motion);
    const Reach reach(ranges, height);
    p.row_ranges = ranges.data();
    p.block = block_channels<T>(channels);
    const int64_t blocks = (channels + p.block - 1) / p.block;
    p.bands = reach.bands(batch * blocks, false);
    const int64_t tasks = batch * blocks * p.bands;
    run(warp_planes_kernel<T>(), p, tasks,
        reach.grain(tasks, rows_per_thread(features, p.block) * p.bands / height));
  });
  return output;
}

Tensor WarpLevel::backward(const Tensor& grad_output, const Tensor& features, const WarpMotion& motion,
                           bool need_features, bool /*deterministic: always*/, WarpMotionGradient& gradient) {
  const int steps = motion.steps_to(features);
  check_like("grad_output", grad_output, features);
  const int64_t batch = features.size(0), channels = features.size(1), height = features.size(2);
  Tensor grad_features = need_features ? empty_image_like(features) : nothing(features);
  if (features.numel() == 0 || !(need_features || gradient.wanted)) return grad_features;
  with_storage_type(features.scalar_type(), [&](auto storage) {
    using T = decltype(storage);
    using S = opmath<T>;
    const SampledMotion<S> samples = motion.sampled<S>(features, steps);
    const std::vector<RowRange> ranges = row_ranges(features, samples);
    const Reach reach(ranges, height);
    const bool pixels = channels_side_by_side(features) && channels_side_by_side(grad_output) &&
                        (!need_features || channels_side_by_side(grad_features));
    const bool in_place = pixels && std::is_same_v<T, S>;
    const bool sorted = reach.jumps() && height * features.size(3) < int64_t(1) << 31;
    SortedSamples<S> sorted_samples;
    int64_t block = block_channels<T>(channels);
    if (in_place) {
      block = channels;
    } else if (pixels && channels % block == 0) {
      const int64_t resident = sorted ? channels : reach.resident_channels(features.size(3));
      block = std::clamp(resident / block * block, block, channels);
    }
    const int64_t blocks = (channels + block - 1) / block, bands = reach.bands(batch, pixels);
    const int64_t groups = std::min(blocks, (most_at_once + batch * bands - 1) / (batch * bands));
    std::unique_ptr<S[]> corner_dots(gradient.wanted ? new S[groups * 4 * batch * height * features.size(3)]
                                                     : nullptr);
    ConfidenceWarpBackward<T> p{
        .motion = samples,
        .batch = batch,
        .channels = channels,
        .block = block,
        .bands = bands,
        .groups = groups,
        .in_place = in_place,
        .features = strided<const T, 4>(features),
        .row_ranges = ranges.data(),
        .order = sorted ? sorted_samples.sort(samples, batch) : SampleOrder<S>{},
        .grad_output = strided<const T, 4>(grad_output),
        .grad_features = need_features ? strided<T, 4>(grad_features) : Strided<T, 4>{},
        .corner_dots = corner_dots.get(),
        .streaming = need_features && streams<T>(grad_features)};
    const int64_t tasks = batch * groups * bands;
    run(warp_backward_kernel<T>(), p, tasks,
        reach.grain(tasks, rows_per_thread(features, channels / groups) * bands / height));
    if (gradient.wanted) motion_backward<S>(features, samples, corner_dots.get(), groups, gradient);
  });
  return grad_features;
}

STABLE_TORCH_LIBRARY_IMPL(internet, CPU, m) {
  m.impl("confidence_warp", TORCH_BOX(&ConfidenceWarpOperator<WarpLevel>::forward));
  m.impl("confidence_warp_backward", TORCH_BOX(&ConfidenceWarpOperator<WarpLevel>::backward));
}

}  // namespace internet::cpu
