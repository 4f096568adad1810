#include <memory>
#include <vector>

#include "cpu/confidence_warp/kernels.h"
#include "cpu/confidence_warp/level.h"
#include "cpu/runtime/launch.h"
#include "cpu/sampling/reach.h"

namespace internet::cpu {
namespace {

// Nanoseconds for: a value of the features or of a map; a sample that is sorted.
constexpr double value_time = 0.25, sort_time = 4;

// How many rows of the features make waking a thread worthwhile.
int64_t rows_per_thread(const Tensor& features, int64_t values_per_pixel) {
  return tasks_per_thread(value_time * values_per_pixel * features.size(3));
}

template <class S>
std::vector<RowRange> row_ranges(const Tensor& features, const SampledMotion<S>& motion) {
  const int64_t rows = features.size(0) * motion.height;
  std::vector<RowRange> ranges(rows);
  RowRanges<S> p{.motion = motion, .row_ranges = ranges.data()};
  run(warp_row_ranges_kernel<S>(), p, rows, rows_per_thread(features, 1));
  return ranges;
}

// The samples of a batch ordered by source row; see SampleOrder.
template <class S>
class SortedSamples {
 public:
  SampleOrder<S> sort(const SampledMotion<S>& motion, int64_t batch) {
    const int64_t rows = batch * motion.height, pixels = rows * motion.width;
    integers_.reset(new int32_t[rows + batch + 6 * pixels]);
    weights_.reset(new S[4 * pixels]);
    int32_t *starts = integers_.get(), *numbers = starts + rows + batch;
    const SortSamples<S> p{motion, {starts, numbers, numbers + pixels, weights_.get()}};
    run(warp_sort_samples_kernel<S>(), p, batch, tasks_per_thread(sort_time * motion.height * motion.width));
    return p.order;
  }

 private:
  std::unique_ptr<int32_t[]> integers_;
  std::unique_ptr<S[]> weights_;
};

// Whether to write past the caches: for images that are too large for them and consist of whole lines.
template <class T>
bool streams(const Tensor& image) {
  constexpr int64_t line = 64, large = 16 << 20;
  const bool planes = image.stride(3) == 1;
  auto whole_lines = [](int64_t elements) { return elements * int64_t(sizeof(T)) % line == 0; };
  return image.numel() * int64_t(sizeof(T)) >= large &&
         reinterpret_cast<uintptr_t>(image.data_ptr()) % line == 0 &&
         whole_lines(image.size(planes ? 3 : 1)) && whole_lines(image.stride(2));
}

// Whether planes can be sampled where they lie, and gain by it. Not if they are large: even a smooth field
// reads their rows in an order that memory is slow at. And finding the windows takes as long as sampling some
// ten channels.
bool suits_windows(const WarpInputs& inputs) {
  constexpr int64_t large = 128 * 128, enough_channels = 32;
  const Tensor& features = inputs.features;
  const bool rows = features.stride(3) == 1 && (!inputs.blend || inputs.blend->stride(3) == 1);
  return rows && features.size(1) >= enough_channels &&
         features.size(2) * std::max(features.size(3), features.stride(2)) <= large;
}

// Adds to the gradient of a coarse map with `channels`, from the gradient of its fine rows.
template <class S>
void map_backward(const MapResize& resize, int64_t batch, int64_t channels, const S* fine,
                  int64_t fine_stride, MapGradient& map) {
  if (!map.wanted) return;
  const MapFold<S> p{.resize = resize,
                     .channels = channels,
                     .fine = fine,
                     .fine_stride = fine_stride,
                     .coarse = static_cast<S*>(map.gradient.data_ptr()),
                     .accumulate = map.started};
  const int64_t rows_read = std::max<int64_t>(resize.fine_height / std::max<int64_t>(resize.height, 1), 1);
  run(warp_map_fold_kernel<S>(), p, batch * resize.height,
      tasks_per_thread(value_time * 4 * rows_read * resize.fine_width));
  map.started = true;
}

template <class S>
void motion_backward(const WarpInputs& inputs, const SampledMotion<S>& motion, S* corner_dots, int64_t groups,
                     const S* blend_dots, MapGradient& field, MapGradient& confidence) {
  const int64_t batch = motion.batch, width = motion.width;
  MotionBackward<S> p{.motion = motion,
                      .batch = batch,
                      .groups = groups,
                      .corner_dots = corner_dots,
                      .blend_dots = blend_dots};
  run(warp_motion_gradient_kernel<S>(), p, batch * motion.height, rows_per_thread(inputs.features, 4));
  map_backward(inputs.field_resize, batch, 2, corner_dots, 4 * width, field);
  map_backward(inputs.confidence_resize, batch, 1, corner_dots + 2 * width, 4 * width, confidence);
}

// The gradient of the blend, if wanted, and its part of the confidence's, unless blend_dots is null.
template <class T>
WarpBlendBackward<T> blend_backward(const Tensor& grad_output, const WarpInputs& inputs,
                                    const Tensor& grad_blend, opmath<T>* blend_dots) {
  const bool wanted = grad_blend.numel() > 0;
  if (!wanted && blend_dots == nullptr) return {};
  const bool pixels = channels_side_by_side(*inputs.blend) && channels_side_by_side(grad_output) &&
                      (!wanted || channels_side_by_side(grad_blend));
  return {.motion = inputs.sampled<opmath<T>>(),
          .channels = inputs.features.size(1),
          .blend = strided<const T, 4>(inputs.blend),
          .grad_output = strided<const T, 4>(grad_output),
          .grad_blend = wanted ? strided<T, 4>(grad_blend) : Strided<T, 4>{},
          .pixels = pixels,
          .streaming = wanted && streams<T>(grad_blend),
          .blend_dots = blend_dots};
}

}  // namespace

Tensor WarpLevel::forward(const WarpInputs& inputs) {
  const Tensor& features = inputs.features;
  const int64_t batch = features.size(0), channels = features.size(1), height = features.size(2);
  Tensor output = empty_image_like(features);
  if (features.numel() == 0) return output;
  with_storage_type(features.scalar_type(), [&](auto storage) {
    using T = decltype(storage);
    ConfidenceWarp<T> p{.motion = inputs.sampled<opmath<T>>(),
                        .channels = channels,
                        .block = channels,
                        .bands = 1,
                        .features = strided<const T, 4>(features),
                        .row_ranges = nullptr,
                        .blend = strided<const T, 4>(inputs.blend),
                        .output = strided<T, 4>(output),
                        .streaming = streams<T>(output),
                        .windows = false};
    if (channels_side_by_side(features) && channels_side_by_side(output)) {
      return run(warp_pixels_kernel<T>(), p, batch * height, rows_per_thread(features, channels));
    }
    const std::vector<RowRange> ranges = row_ranges(features, p.motion);
    const Reach reach(ranges, height);
    p.row_ranges = ranges.data();
    p.block = block_channels<T>(channels);
    const int64_t blocks = (channels + p.block - 1) / p.block;
    p.bands = reach.bands(batch * blocks, false);
    p.windows = std::is_same_v<T, float> && suits_windows(inputs);
    const int64_t tasks = batch * blocks * p.bands;
    run(warp_planes_kernel<T>(), p, tasks,
        reach.grain(tasks, rows_per_thread(features, p.block) * p.bands / height));
  });
  return output;
}

WarpImageGradients WarpLevel::backward(const Tensor& grad_output, const WarpInputs& inputs,
                                       bool need_features, bool need_blend, bool /*deterministic: always*/,
                                       MapGradient& field, MapGradient& confidence) {
  const Tensor& features = inputs.features;
  check_like("grad_output", grad_output, features);
  const int64_t batch = features.size(0), channels = features.size(1), height = features.size(2),
                width = features.size(3);
  const WarpImageGradients gradients{need_features ? empty_image_like(features) : nothing(features),
                                     need_blend ? empty_image_like(*inputs.blend) : nothing(features)};
  const Tensor& grad_features = gradients.features;
  if (features.numel() == 0) return gradients;
  with_storage_type(features.scalar_type(), [&](auto storage) {
    using T = decltype(storage);
    using S = opmath<T>;
    const bool blend_confidence = inputs.blend && confidence.wanted;
    std::unique_ptr<S[]> blend_dots(blend_confidence ? new S[batch * height * width] : nullptr);
    auto blend = blend_backward<T>(grad_output, inputs, gradients.blend, blend_dots.get());
    auto run_blend = [&] {
      if (blend.grad_output.data == nullptr) return;
      run(warp_blend_backward_kernel<T>(), blend, batch * height, rows_per_thread(features, channels));
    };
    if (!need_features && !field.wanted) return run_blend();
    const SampledMotion<S> samples = inputs.sampled<S>();
    const std::vector<RowRange> ranges = row_ranges(features, samples);
    const Reach reach(ranges, height);
    const bool pixels = channels_side_by_side(features) && channels_side_by_side(grad_output) &&
                        (!need_features || channels_side_by_side(grad_features));
    const bool in_place = pixels && std::is_same_v<T, S>;
    const bool sorted = reach.jumps() && height * width < int64_t(1) << 31;
    const bool on_the_way = in_place && !sorted && blend.pixels;
    if (!on_the_way) run_blend();
    SortedSamples<S> sorted_samples;
    int64_t block = block_channels<T>(channels);
    if (in_place) {
      block = channels;
    } else if (pixels && channels % block == 0) {
      const int64_t resident = sorted ? channels : reach.resident_channels(width);
      block = std::clamp(resident / block * block, block, channels);
    }
    const int64_t blocks = (channels + block - 1) / block, bands = reach.bands(batch, pixels);
    const int64_t groups = std::min(blocks, (most_at_once + batch * bands - 1) / (batch * bands));
    std::unique_ptr<S[]> corner_dots(field.wanted ? new S[groups * 4 * batch * height * width] : nullptr);
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
        .streaming = need_features && streams<T>(grad_features),
        .blend = on_the_way ? blend : WarpBlendBackward<T>{}};
    const int64_t tasks = batch * groups * bands;
    run(warp_backward_kernel<T>(), p, tasks,
        reach.grain(tasks, rows_per_thread(features, channels / groups) * bands / height));
    if (field.wanted) {
      motion_backward<S>(inputs, samples, corner_dots.get(), groups, blend_dots.get(), field, confidence);
    }
  });
  return gradients;
}

STABLE_TORCH_LIBRARY_IMPL(internet, CPU, m) {
  m.impl("confidence_warp", TORCH_BOX(&ConfidenceWarpOperator<WarpLevel>::forward));
  m.impl("confidence_warp_backward", TORCH_BOX(&ConfidenceWarpOperator<WarpLevel>::backward));
}

}  // namespace internet::cpu
