#include "confidence_warp.h"

#include "fold_motion.h"
#include "glue.h"
#include "scattered_gradient.h"
#include "warp_level.h"

namespace internet::cuda {
namespace {

// Whether the channels of each pixel lie side by side, so that `count` of them are loaded or stored at once.
template <class T>
bool in_vectors(const Tensor& image, int count) {
  bool aligned = image.stride(1) == 1 && image.size(1) % count == 0;
  for (int axis : {0, 2, 3}) aligned = aligned && (image.size(axis) == 1 || image.stride(axis) % count == 0);
  return aligned && reinterpret_cast<uintptr_t>(image.data_ptr()) % (count * sizeof(T)) == 0;
}

template <class S>
void fold(const Tensor& fine, int64_t layers, int steps, WarpMotionGradient& gradient, cudaStream_t stream) {
  check(fold_motion<S>({.fine = data<const S>(fine),
                        .flow = data<S>(gradient.field),
                        .confidence = gradient.has_confidence ? data<S>(gradient.confidence) : nullptr,
                        .steps = steps,
                        .parts = layers,
                        .batch = gradient.field.size(0),
                        .height = gradient.field.size(1),
                        .width = gradient.field.size(2),
                        .accumulate = gradient.started},
                       stream));
  gradient.started = true;
}

}  // namespace

Tensor WarpLevel::forward(const Tensor& features, const WarpMotion& motion) {
  const int steps = motion.steps_to(features);
  const Device device(features);
  Tensor output = empty_image_like(features);
  if (features.numel() == 0) return output;
  with_storage_type(features.scalar_type(), [&](auto storage) {
    using T = decltype(storage);
    constexpr int count = warp_vector<T>;
    const ConfidenceWarp<T> p{.motion = motion.sampled<opmath<T>>(features, steps),
                              .channels = features.size(1),
                              .features = strided<const T, 4>(features),
                              .output = strided<T, 4>(output)};
    const bool vectors = in_vectors<T>(features, count) && in_vectors<T>(output, count);
    check(confidence_warp(p, vectors, device.stream()));
  });
  return output;
}

Tensor WarpLevel::backward(const Tensor& grad_output, const Tensor& features, const WarpMotion& motion,
                           bool need_features, bool deterministic, WarpMotionGradient& gradient) {
  const int steps = motion.steps_to(features);
  check_like("grad_output", grad_output, features);
  const Device device(features);
  ScatteredGradient grad_features(features, need_features, deterministic, LeastPass::some_channels,
                                  device.stream());
  if (features.numel() == 0 || !(need_features || gradient.wanted)) return grad_features.result();
  const auto [batch, channels, height, width] = sizes_of(features);
  if (grad_features.deterministic()) {
    Magnitudes largest(features, device.stream());
    largest.measure(0, grad_output);
    if (motion.confidence) largest.measure(1, *motion.confidence);
    grad_features.bound_by(largest, 1, motion.confidence.has_value(), false, height * width);
  }
  const int64_t maps = motion.confidence ? 3 : 2, at_once = grad_features.channels_at_once();
  with_storage_type(features.scalar_type(), [&](auto storage) {
    using T = decltype(storage);
    using S = opmath<T>;
    constexpr int count = warp_backward_vector<T>;
    const bool vectors = is_dense(features, {1, 3, 2, 0}) && in_vectors<T>(features, count) &&
                         in_vectors<T>(grad_output, count);
    auto layers_of = [&](int64_t channels) { return confidence_warp_backward_layers(channels, vectors); };
    const int64_t layers = channels / at_once * layers_of(at_once) + layers_of(channels % at_once);
    const Tensor fine = empty<5>({gradient.wanted ? layers : 0, maps, batch, height, width},
                                 compute_type(features), features);
    ConfidenceWarpBackward<T> p{.motion = motion.sampled<S>(features, steps),
                                .features = strided<const T, 4>(features),
                                .grad_output = strided<const T, 4>(grad_output),
                                .pass = {},
                                .grad_motion = gradient.wanted ? data<S>(fine) : nullptr,
                                .first_layer = 0};
    grad_features.accumulate([&](const ScatterPass& pass) {
      p.pass = pass;
      p.first_layer = pass.first_channel / at_once * layers_of(at_once);
      check(confidence_warp_backward(p, vectors, device.stream()));
    });
    if (gradient.wanted) fold<S>(fine, layers, steps, gradient, device.stream());
  });
  return grad_features.result();
}

STABLE_TORCH_LIBRARY_IMPL(internet, CUDA, m) {
  m.impl("confidence_warp", TORCH_BOX(&ConfidenceWarpOperator<WarpLevel>::forward));
  m.impl("confidence_warp_backward", TORCH_BOX(&ConfidenceWarpOperator<WarpLevel>::backward));
}

}  // namespace internet::cuda
