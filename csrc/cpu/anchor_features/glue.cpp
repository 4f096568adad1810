#include <limits>

#include "arguments/anchor_features.h"
#include "cpu/anchor_features/kernels.h"
#include "cpu/anchors/anchor_affines.h"
#include "cpu/runtime/scratch.h"

namespace internet::cpu {
namespace {

AnchorFeaturesShape shape_of(const AnchorFeaturesArguments& a) {
  const FramedShape framed{(1 + a.channels() + 3) / 4, a.height(), a.width()};
  STD_TORCH_CHECK(framed.rows() * framed.pitch() <= std::numeric_limits<int32_t>::max(),
                  "source: images of more than 2^31 pixels are not supported");
  return {a.channels(), a.height(), a.width(), a.anchors.count(), framed, a.grid_align_corners};
}

// What both directions work from.
template <class S>
struct Prepared {
  math::PixelAxis<double> x, y;
  Scratch<S> framed, factors;
  std::vector<math::KeyPoints<double, 2>> key_points;  // (B, K)
  std::vector<math::Affine<double, 2>> motion;         // (B, K+1)

  template <class T>
  Prepared(T, const AnchorFeaturesArguments& a, const AnchorFeaturesShape& shape)
      : x(a.x_axis()),
        y(a.y_axis()),
        framed(a.batch() * shape.framed.size()),
        factors(a.batch() * shape.anchors * 2 * (shape.width + shape.height)) {
    const int64_t batch = a.batch(), count = shape.anchors;
    const auto views = a.anchors.views<S, 2>();
    for (int64_t b = 0; b < batch; ++b) {
      motion.push_back(math::pixel_stillness(x, y));
      for (int64_t k = 0; k < count; ++k) {
        const auto anchor = views.at(b, k);
        key_points.push_back({{anchor.source[0], anchor.source[1]}, {anchor.driving[0], anchor.driving[1]}});
        motion.push_back(math::pixel_motion(math::anchor_affine(anchor), x, y));
      }
    }
    AnchorFeaturesPrepare<T> p{.shape = shape,
                               .batch = batch,
                               .source = strided<const T, 4>(a.source),
                               .framed = framed.data(),
                               .key_points = key_points.data(),
                               .factors = factors.data(),
                               .per_twice_variance = S(0.5 / a.variance)};
    int64_t tasks = batch * (shape.framed.rows() + count);
    run(anchor_features_prepare_kernel<T>(), p, tasks, elements_per_thread / (8 * shape.framed.pitch()));
  }
};

Tensor forward(Tensor source, Tensor kp_source, Tensor kp_driving, OptionalTensor jac_source,
               OptionalTensor jac_driving, double variance, bool align_corners, bool grid_align_corners) {
  const AnchorFeaturesArguments a(source, {kp_source, kp_driving, jac_source, jac_driving}, variance,
                                  align_corners, grid_align_corners);
  const AnchorFeaturesShape shape = shape_of(a);
  const Tensor output = a.empty_output();
  if (output.numel() == 0) return output;
  with_storage_type(source.scalar_type(), [&](auto storage) {
    using T = decltype(storage);
    const Prepared<opmath<T>> prepared(storage, a, shape);
    AnchorFeaturesForward<T> p{.shape = shape,
                               .framed = prepared.framed.data(),
                               .factors = prepared.factors.data(),
                               .motion = prepared.motion.data(),
                               .output = strided<T, 4>(output)};
    run(anchor_features_forward_kernel<T>(), p, a.batch() * a.height(),
        elements_per_thread / (a.output_channels() * a.width()));
  });
  return output;
}

// How many parts the rows of an output are cut into: enough for the threads of today's machines over the
// whole batch, but few an image, because each part needs an image of its own to scatter into.
int64_t parts_of(int64_t batch, int64_t height) {
  return std::min<int64_t>(std::clamp<int64_t>(16 / batch, 1, 8), height);
}

// Of the four tensors: through the motions, and, for the key points, through the heat maps.
template <class S>
AnchorGradientTensors anchor_gradients(const Anchors& anchors, const Prepared<S>& prepared,
                                       const std::vector<AnchorPartial>& partials, int64_t parts) {
  MapPartials<2> motions;
  for (const auto& partial : partials) {
    motions.affine.push_back(math::pixel_motion_vjp(partial.motion, prepared.x, prepared.y));
  }
  auto out = gradients<S, 2>(anchors, motions);
  S* grad_source = static_cast<S*>(out[0].data_ptr());
  S* grad_driving = static_cast<S*>(out[1].data_ptr());
  const int64_t count = anchors.count();
  for (int64_t i = 0; i < anchors.batch() * count; ++i) {
    for (int axis = 0; axis < 2; ++axis) {
      double source = 0, driving = 0;
      for (int64_t part = 0; part < parts; ++part) {
        const auto& heat = partials[(i / count * parts + part) * count + i % count].heat;
        source += heat.source[axis];
        driving += heat.driving[axis];
      }
      grad_source[2 * i + axis] += S(source);
      grad_driving[2 * i + axis] += S(driving);
    }
  }
  return out;
}

std::tuple<Tensor, Tensor, Tensor, Tensor, Tensor> backward(
    Tensor grad_output, Tensor source, Tensor kp_source, Tensor kp_driving, OptionalTensor jac_source,
    OptionalTensor jac_driving, double variance, bool align_corners, bool grid_align_corners,
    bool need_source, bool need_anchors, bool /* deterministic */) {
  const AnchorFeaturesArguments a(source, {kp_source, kp_driving, jac_source, jac_driving}, variance,
                                  align_corners, grid_align_corners);
  a.check_grad_output(grad_output);
  const AnchorFeaturesShape shape = shape_of(a);
  const int64_t batch = a.batch(), h = a.height(), w = a.width();
  const Tensor grad_source = need_source ? empty_image_like(source) : nothing(source);
  AnchorGradientTensors grad_anchors = a.anchors.no_gradients();
  with_storage_type(source.scalar_type(), [&](auto storage) {
    using T = decltype(storage);
    using S = opmath<T>;
    if (batch == 0 || h * w == 0) {
      if (need_anchors) grad_anchors = gradients<S, 2>(a.anchors, {});
      return;
    }
    if (!need_source && !need_anchors) return;
    const Prepared<S> prepared(storage, a, shape);
    int64_t parts = parts_of(batch, h), tasks = batch * parts;
    std::vector<AnchorPartial> partials(need_anchors ? tasks * shape.anchors : 0);
    Scratch<S> scattered(need_source ? tasks * shape.framed.size() : 0);
    std::vector<uint8_t> touched(need_source ? tasks * shape.framed.rows() : 0);
    AnchorFeaturesBackward<T> p{.shape = shape,
                                .parts = parts,
                                .framed = prepared.framed.data(),
                                .factors = prepared.factors.data(),
                                .key_points = prepared.key_points.data(),
                                .motion = prepared.motion.data(),
                                .per_variance = 1 / variance,
                                .grad_output = strided<const T, 4>(grad_output),
                                .scattered = need_source ? scattered.data() : nullptr,
                                .touched = touched.data(),
                                .partials = need_anchors ? partials.data() : nullptr};
    if (need_source || shape.anchors > 0) run(anchor_features_backward_kernel<T>(), p, tasks, 1);
    if (need_source) {
      AnchorFeaturesGather<T> gather{.shape = shape,
                                     .parts = parts,
                                     .scattered = scattered.data(),
                                     .touched = touched.data(),
                                     .grad_source = strided<T, 4>(grad_source)};
      run(anchor_features_gather_kernel<T>(), gather, batch * h, elements_per_thread / (4 * parts * w));
    }
    if (need_anchors) grad_anchors = anchor_gradients<S>(a.anchors, prepared, partials, parts);
  });
  return {grad_source, grad_anchors[0], grad_anchors[1], grad_anchors[2], grad_anchors[3]};
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(internet, CPU, m) {
  m.impl("anchor_features", TORCH_BOX(&forward));
  m.impl("anchor_features_backward", TORCH_BOX(&backward));
}

}  // namespace internet::cpu
