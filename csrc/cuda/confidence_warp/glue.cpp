#include "cuda/runtime/glue.h"

#include <algorithm>

#include "cuda/confidence_warp/kernels.h"
#include "cuda/confidence_warp/level.h"
#include "cuda/confidence_warp/sampling_transpose.h"
#include "cuda/sampling/map_adjoint.h"
#include "environment.h"

namespace internet::cuda {
namespace {

// Adds to the gradient of a coarse map from some of the channels of `fine`, (layers, maps, batch, H, W).
template <class S>
void fold(const Tensor& fine, int64_t first, int64_t channels, const MapResize& resize, MapGradient& map,
          cudaStream_t stream) {
  if (!map.wanted) return;
  check(map_adjoint<S>({.resize = resize,
                        .batch = fine.size(2),
                        .channels = channels,
                        .parts = fine.size(0),
                        .fine = data<const S>(fine) + first * fine.stride(1),
                        .part_stride = fine.stride(0),
                        .coarse = data<S>(map.gradient),
                        .accumulate = map.started},
                       stream));
  map.started = true;
}

// The most memory that the samples of several images together may take, transposed. The default is usually
// enough for a whole batch; one image takes what it needs.
int64_t most_transpose_bytes() { return bytes_of_setting("INTERNET_SCRATCH_MB", 512); }

// Returns the gradient with respect to the motion at full resolution, empty.
template <class S>
Tensor empty_fine(const WarpInputs& inputs, const SampledMotion<S>& motion, int64_t layers) {
  return empty<5>({layers, inputs.confidence ? 3 : 2, motion.batch, motion.height, motion.width},
                  compute_type(inputs.features), inputs.features);
}

// The gradient with respect to the features; and, unless its data are null, that with respect to the motion.
template <class T, class S = opmath<T>>
void features_backward(const Tensor& grad_output, const Tensor& features,
                       const MotionGradient<S>& grad_motion, const Tensor& grad_features,
                       cudaStream_t stream) {
  const SampledMotion<S>& motion = grad_motion.motion;
  const int64_t pixels = motion.height * motion.width;
  STD_TORCH_CHECK(pixels <= most_pixels, "features: 2^30 or more pixels in an image");
  constexpr int count = warp_vector<T>;
  const int64_t last_place =
      (motion.height - 1) * grad_output.stride(2) + (motion.width - 1) * grad_output.stride(3);
  const bool vectors = in_vectors<T>(grad_output, count) && in_vectors<T>(grad_features, count) &&
                       (grad_motion.data == nullptr || in_vectors<T>(features, count)) &&
                       last_place / count <= UINT32_MAX;
  const int64_t layers =
      grad_motion.data == nullptr ? 0 : warp_features_backward_layers<T>(features.size(1), vectors);
  const int64_t begins_of_image = ReaderTiles{1, 1, motion.height, motion.width}.count() * tile_begins;
  const int64_t begin_bytes = begins_of_image * sizeof(uint32_t), place_bytes = pixels * sizeof(uint4);
  const int64_t reader_bytes = 4 * pixels * sizeof(Reader<S>), dot_bytes = layers * 4 * pixels * sizeof(S);
  const int64_t bytes = begin_bytes + place_bytes + reader_bytes + dot_bytes;
  const int64_t most = std::min(most_transpose_bytes() / bytes, most_pixels / pixels);
  const int64_t at_once = std::clamp<int64_t>(most, 1, motion.batch);
  auto scratch = [&](int64_t size) { return empty<1>({size}, ScalarType::Byte, features); };
  const Tensor assigned = scratch(sizeof(uint32_t)), begins = scratch(at_once * begin_bytes);
  const Tensor places = scratch(at_once * place_bytes), readers = scratch(at_once * reader_bytes);
  const Tensor dots = scratch(at_once * dot_bytes);
  for (int64_t image = 0; image < motion.batch; image += at_once) {
    const int64_t images = std::min(at_once, motion.batch - image);
    const CornerDots<S> corner_dots{layers == 0 ? nullptr : data<S>(dots), images * pixels};
    check(transpose_sampling<S>({.motion = motion,
                                 .first_image = image,
                                 .images = images,
                                 .assigned = data<uint32_t>(assigned),
                                 .begins = data<uint32_t>(begins),
                                 .places = data<uint4>(places),
                                 .readers = data<Reader<S>>(readers)},
                                stream));
    check(warp_features_backward<T>({.begins = data<const uint32_t>(begins),
                                     .readers = data<const Reader<S>>(readers),
                                     .first_image = image,
                                     .images = images,
                                     .channels = features.size(1),
                                     .height = motion.height,
                                     .width = motion.width,
                                     .features = strided<const T, 4>(features),
                                     .grad_output = strided<const T, 4>(grad_output),
                                     .grad_features = strided<T, 4>(grad_features),
                                     .dots = corner_dots},
                                    vectors, stream));
    if (layers == 0) continue;
    check(warp_motion_from_dots<S>({.gradient = grad_motion,
                                    .dots = corner_dots,
                                    .first_image = image,
                                    .images = images,
                                    .layers = layers},
                                   stream));
  }
}

// Writes the gradient of the blend and its part of the confidence's gradient, except where they are empty.
template <class T, class S = opmath<T>>
void blend_backward(const Tensor& grad_output, const WarpInputs& inputs, const SampledMotion<S>& motion,
                    const Tensor& grad_blend, const Tensor& dots, cudaStream_t stream) {
  constexpr int count = warp_vector<T>;
  const bool wanted = grad_blend.numel() > 0;
  const bool vectors = in_vectors<T>(grad_output, count) && in_vectors<T>(*inputs.blend, count) &&
                       (!wanted || in_vectors<T>(grad_blend, count));
  check(warp_blend_backward<T>({.motion = motion,
                                .channels = inputs.features.size(1),
                                .blend = strided<const T, 4>(inputs.blend),
                                .grad_output = strided<const T, 4>(grad_output),
                                .grad_blend = wanted ? strided<T, 4>(grad_blend) : Strided<T, 4>{},
                                .blend_dots = dots.numel() > 0 ? data<S>(dots) : nullptr},
                               vectors, stream));
}

}  // namespace

Tensor WarpLevel::forward(const WarpInputs& inputs) {
  const Tensor& features = inputs.features;
  const Device device(features);
  Tensor output = empty_image_like(features);
  if (features.numel() == 0) return output;
  with_storage_type(features.scalar_type(), [&](auto storage) {
    using T = decltype(storage);
    constexpr int count = warp_vector<T>;
    const ConfidenceWarp<T> p{.motion = inputs.sampled<opmath<T>>(),
                              .channels = features.size(1),
                              .features = strided<const T, 4>(features),
                              .blend = strided<const T, 4>(inputs.blend),
                              .output = strided<T, 4>(output)};
    const bool vectors = in_vectors<T>(features, count) && in_vectors<T>(output, count) &&
                         (!inputs.blend || in_vectors<T>(*inputs.blend, count));
    check(confidence_warp(p, vectors, device.stream()));
  });
  return output;
}

WarpImageGradients WarpLevel::backward(const Tensor& grad_output, const WarpInputs& inputs,
                                       bool need_features, bool need_blend, bool, MapGradient& field,
                                       MapGradient& confidence) {
  const Tensor& features = inputs.features;
  check_like("grad_output", grad_output, features);
  const Device device(features);
  const WarpImageGradients gradients{need_features ? empty_image_like(features) : nothing(features),
                                     need_blend ? empty_image_like(*inputs.blend) : nothing(features)};
  if (features.numel() == 0) return gradients;
  const cudaStream_t stream = device.stream();
  with_storage_type(features.scalar_type(), [&](auto storage) {
    using T = decltype(storage);
    using S = opmath<T>;
    const SampledMotion<S> motion = inputs.sampled<S>();
    const bool blend_confidence = inputs.blend && confidence.wanted;
    const Tensor dots = blend_confidence ? empty<3>({motion.batch, motion.height, motion.width},
                                                    compute_type(features), features)
                                         : nothing(features);
    if (need_blend || blend_confidence) {
      blend_backward<T>(grad_output, inputs, motion, gradients.blend, dots, stream);
    }
    const S* blend_dots = blend_confidence ? data<const S>(dots) : nullptr;
    MotionGradient<S> grad_motion{.motion = motion, .blend_dots = blend_dots, .data = nullptr};
    const bool vectors =
        in_vectors<T>(features, warp_vector<T>) && in_vectors<T>(grad_output, warp_vector<T>);
    const int64_t layers = need_features ? 1 : warp_motion_backward_layers(features.size(1), vectors);
    const Tensor fine = field.wanted ? empty_fine(inputs, motion, layers) : nothing(features);
    if (field.wanted) grad_motion.data = data<S>(fine);
    if (need_features) {
      features_backward<T>(grad_output, features, grad_motion, gradients.features, stream);
    } else if (field.wanted) {
      check(warp_motion_backward<T>({.gradient = grad_motion,
                                     .channels = features.size(1),
                                     .features = strided<const T, 4>(features),
                                     .grad_output = strided<const T, 4>(grad_output)},
                                    vectors, stream));
    }
    fold<S>(fine, 0, 2, inputs.field_resize, field, stream);
    fold<S>(fine, 2, 1, inputs.confidence_resize, confidence, stream);
  });
  return gradients;
}

STABLE_TORCH_LIBRARY_IMPL(internet, CUDA, m) {
  m.impl("confidence_warp", TORCH_BOX(&ConfidenceWarpOperator<WarpLevel>::forward));
  m.impl("confidence_warp_backward", TORCH_BOX(&ConfidenceWarpOperator<WarpLevel>::backward));
}

}  // namespace internet::cuda
