#include "warp_level.h"

#include <cstring>
#include <memory>
#include <vector>

#include "confidence_warp.h"

namespace internet::cpu {
namespace {

// How many times the features are larger than the motion; checks all the shapes of one level.
int64_t ratio_of(const Tensor& features, const WarpMotion& motion) {
  STD_TORCH_CHECK(features.dim() == 4, "features: expected (B, C, H, W)");
  STD_TORCH_CHECK(motion.flow.dim() == 4, "flow: expected (B, h, w, 2)");
  const int64_t batch = features.size(0), h = motion.flow.size(1), w = motion.flow.size(2);
  check_motion("flow", motion.flow, features, {batch, h, w, 2});
  if (motion.confidence) check_motion("confidence", *motion.confidence, features, {batch, 1, h, w});
  int64_t ratio = 1;
  while (h * ratio < features.size(2)) ratio *= 2;
  STD_TORCH_CHECK(h * ratio == features.size(2) && w * ratio == features.size(3),
                  "features: expected a power of two times the size of flow");
  return ratio;
}

template <class S>
SampledMotion<S> sampled(const Tensor& features, const WarpMotion& motion, int64_t ratio) {
  return {.flow = strided<const S, 4>(motion.flow),
          .confidence = strided<const S, 4>(motion.confidence),
          .height = features.size(2),
          .width = features.size(3),
          .ratio = ratio,
          .border = motion.border,
          .align_corners = motion.align_corners};
}

int64_t rows_per_thread(const Tensor& features, int64_t values_per_pixel) {
  return elements_per_thread / (values_per_pixel * features.size(3) + 1);
}

template <class S>
std::vector<int32_t> row_ranges(const Tensor& features, const SampledMotion<S>& motion) {
  const int64_t rows = features.size(0) * motion.height;
  std::vector<int32_t> ranges(2 * rows);
  RowRanges<S> p{.motion = motion, .row_ranges = ranges.data()};
  run(warp_row_ranges_kernel<S>(), p, rows, rows_per_thread(features, 1));
  return ranges;
}

bool channels_side_by_side(const Tensor& image) { return image.size(1) == 1 || image.stride(1) == 1; }

template <class S>
void motion_backward(const Tensor& features, const SampledMotion<S>& motion, S* dots,
                     WarpMotionGradient& gradient) {
  const bool has_confidence = motion.confidence.data != nullptr;
  MotionBackward<S> p{
      .motion = motion,
      .dots = dots,
      .grad_flow = static_cast<S*>(gradient.flow.data_ptr()),
      .grad_confidence = has_confidence ? static_cast<S*>(gradient.confidence.data_ptr()) : nullptr,
      .accumulate = gradient.started};
  const int64_t rows = features.size(0) * motion.height, grain = rows_per_thread(features, 4);
  run(warp_motion_gradient_kernel<S>(), p, rows, grain);
  run(warp_motion_fold_kernel<S>(), p, rows / motion.ratio, grain / motion.ratio);
  gradient.started = true;
}

}  // namespace

WarpMotion::WarpMotion(Tensor flow, OptionalTensor confidence, const std::string& padding_mode,
                       bool align_corners)
    : flow(flow), confidence(confidence), border(padding_mode == "border"), align_corners(align_corners) {
  STD_TORCH_CHECK(border || padding_mode == "zeros", "padding_mode: expected zeros or border");
}

WarpMotionGradient::WarpMotionGradient(const WarpMotion& motion, bool wanted)
    : flow(nothing(motion.flow)), confidence(nothing(motion.flow)), wanted(wanted) {
  if (!wanted) return;
  const int64_t batch = motion.flow.size(0), h = motion.flow.size(1), w = motion.flow.size(2);
  flow = empty<4>({batch, h, w, 2}, motion.flow.scalar_type(), motion.flow);
  if (motion.confidence) confidence = empty<4>({batch, 1, h, w}, motion.flow.scalar_type(), motion.flow);
}

void WarpMotionGradient::finish() {
  if (!wanted || started) return;
  for (Tensor* gradient : {&flow, &confidence}) {
    const size_t bytes = gradient->scalar_type() == ScalarType::Double ? sizeof(double) : sizeof(float);
    if (gradient->numel() > 0) std::memset(gradient->data_ptr(), 0, size_t(gradient->numel()) * bytes);
  }
}

Tensor warp_level(const Tensor& features, const WarpMotion& motion) {
  const int64_t ratio = ratio_of(features, motion);
  const int64_t batch = features.size(0), channels = features.size(1), height = features.size(2);
  Tensor output = empty_image_like(features);
  if (features.numel() == 0) return output;
  const int64_t block = warp_block_channels(channels), blocks = (channels + block - 1) / block;
  with_storage_type(features.scalar_type(), [&](auto storage) {
    using T = decltype(storage);
    ConfidenceWarp<T> p{.motion = sampled<opmath<T>>(features, motion, ratio),
                        .channels = channels,
                        .bands = warp_bands(batch * blocks, height, features.size(3)),
                        .features = strided<const T, 4>(features),
                        .row_ranges = nullptr,
                        .output = strided<T, 4>(output)};
    if (channels_side_by_side(features) && channels_side_by_side(output)) {
      run(warp_pixels_kernel<T>(), p, batch * height, rows_per_thread(features, channels));
    } else {
      const std::vector<int32_t> ranges = row_ranges(features, p.motion);
      p.row_ranges = ranges.data();
      const int64_t grain = rows_per_thread(features, block) * p.bands / height;
      run(warp_planes_kernel<T>(), p, batch * blocks * p.bands, grain);
    }
  });
  return output;
}

Tensor warp_level_backward(const Tensor& grad_output, const Tensor& features, const WarpMotion& motion,
                           bool need_features, WarpMotionGradient& gradient) {
  const int64_t ratio = ratio_of(features, motion);
  check_like("grad_output", grad_output, features);
  const int64_t batch = features.size(0), channels = features.size(1), height = features.size(2);
  Tensor grad_features = need_features ? empty_image_like(features) : nothing(features);
  if (features.numel() == 0 || !(need_features || gradient.wanted)) return grad_features;
  with_storage_type(features.scalar_type(), [&](auto storage) {
    using T = decltype(storage);
    using S = opmath<T>;
    const SampledMotion<S> samples = sampled<S>(features, motion, ratio);
    const std::vector<int32_t> ranges = row_ranges(features, samples);
    std::unique_ptr<S[]> dots(gradient.wanted ? new S[4 * batch * height * features.size(3)] : nullptr);
    ConfidenceWarpBackward<T> p{
        .motion = samples,
        .channels = channels,
        .bands = warp_bands(batch, height, features.size(3)),
        .features = strided<const T, 4>(features),
        .row_ranges = ranges.data(),
        .grad_output = strided<const T, 4>(grad_output),
        .grad_features = need_features ? strided<T, 4>(grad_features) : Strided<T, 4>{},
        .dots = dots.get()};
    Kernel<ConfidenceWarpBackward<T>> kernel = warp_planes_backward_kernel<T>();
    if constexpr (std::is_same_v<T, S>) {
      const bool in_place = !need_features || channels_side_by_side(grad_features);
      if (in_place && channels_side_by_side(features) && channels_side_by_side(grad_output)) {
        kernel = warp_pixels_backward_kernel<T>();
      }
    }
    run(kernel, p, batch * p.bands, rows_per_thread(features, channels) * p.bands / height);
    if (gradient.wanted) motion_backward<S>(features, samples, dots.get(), gradient);
  });
  return grad_features;
}

}  // namespace internet::cpu
