#include "cuda/runtime/glue.h"

#include <algorithm>

#include "cuda/confidence_warp/kernels.h"
#include "cuda/confidence_warp/level.h"
#include "cuda/confidence_warp/sampling_transpose.h"
#include "cuda/sampling/upsample_adjoint.h"

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
  check(upsample_adjoint<S>({.fine = data<const S>(fine),
                             .field = data<S>(gradient.field),
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

// What may be had at once to transpose the samples of images: mostly enough for a whole batch.
constexpr int64_t most_transpose_bytes = int64_t(512) << 20;

template <class T, class S = opmath<T>>
void features_backward(const Tensor& grad_output, const Tensor& features, const SampledMotion<S>& motion,
                       const Tensor& grad_features, cudaStream_t stream) {
  const int64_t pixels = motion.height * motion.width;
  STD_TORCH_CHECK(pixels < INT32_MAX, "features: more than 2^31 pixels in an image");
  const int64_t lists_of_image = ReaderTiles{1, 1, motion.height, motion.width}.count() * ReaderTiles::pixels,
                list_bytes = lists_of_image * sizeof(Readers), reader_bytes = 4 * pixels * sizeof(Reader<S>);
  const int64_t at_once =
      std::clamp<int64_t>(most_transpose_bytes / (list_bytes + reader_bytes), 1, motion.batch);
  const Tensor lists =
      empty<1>({int64_t(sizeof(Readers)) + at_once * list_bytes}, ScalarType::Byte, features);
  const Tensor readers = empty<1>({at_once * reader_bytes}, ScalarType::Byte, features);
  constexpr int count = warp_vector<T>;
  const bool vectors = in_vectors<T>(grad_output, count) && in_vectors<T>(grad_features, count);
  for (int64_t image = 0; image < motion.batch; image += at_once) {
    const int64_t images = std::min(at_once, motion.batch - image);
    check(transpose_sampling<S>({.motion = motion,
                                 .first_image = image,
                                 .images = images,
                                 .lists = data<Readers>(lists),
                                 .readers = data<Reader<S>>(readers)},
                                stream));
    check(warp_features_backward<T>({.lists = data<const Readers>(lists) + 1,
                                     .readers = data<const Reader<S>>(readers),
                                     .first_image = image,
                                     .images = images,
                                     .channels = features.size(1),
                                     .height = motion.height,
                                     .width = motion.width,
                                     .grad_output = strided<const T, 4>(grad_output),
                                     .grad_features = strided<T, 4>(grad_features)},
                                    vectors, stream));
  }
}

template <class T, class S = opmath<T>>
void motion_backward(const Tensor& grad_output, const Tensor& features, const SampledMotion<S>& motion,
                     WarpMotionGradient& gradient, cudaStream_t stream) {
  constexpr int count = warp_vector<T>;
  const bool vectors = in_vectors<T>(features, count) && in_vectors<T>(grad_output, count);
  const int64_t maps = gradient.has_confidence ? 3 : 2,
                layers = warp_motion_backward_layers(features.size(1), vectors);
  const Tensor fine =
      empty<5>({layers, maps, motion.batch, motion.height, motion.width}, compute_type(features), features);
  check(warp_motion_backward<T>({.motion = motion,
                                 .channels = features.size(1),
                                 .features = strided<const T, 4>(features),
                                 .grad_output = strided<const T, 4>(grad_output),
                                 .grad_motion = data<S>(fine)},
                                vectors, stream));
  fold<S>(fine, layers, motion.steps, gradient, stream);
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
                           bool need_features, bool, WarpMotionGradient& gradient) {
  const int steps = motion.steps_to(features);
  check_like("grad_output", grad_output, features);
  const Device device(features);
  Tensor grad_features = need_features ? empty_image_like(features) : nothing(features);
  if (features.numel() == 0) return grad_features;
  with_storage_type(features.scalar_type(), [&](auto storage) {
    using T = decltype(storage);
    const auto sampling = motion.sampled<opmath<T>>(features, steps);
    if (need_features) features_backward<T>(grad_output, features, sampling, grad_features, device.stream());
    if (gradient.wanted) motion_backward<T>(grad_output, features, sampling, gradient, device.stream());
  });
  return grad_features;
}

STABLE_TORCH_LIBRARY_IMPL(internet, CUDA, m) {
  m.impl("confidence_warp", TORCH_BOX(&ConfidenceWarpOperator<WarpLevel>::forward));
  m.impl("confidence_warp_backward", TORCH_BOX(&ConfidenceWarpOperator<WarpLevel>::backward));
}

}  // namespace internet::cuda
