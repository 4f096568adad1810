// What precedes and follows the work on pixels: from the anchors to the motions and heat maps that each pixel
// reads, and from the sums over tiles to the gradients of the heat maps' parameters.
#include "cuda/anchor_features/gaussians.h"
#include "cuda/anchor_features/kernels.h"
#include "cuda/runtime/instantiate.h"
#include "cuda/runtime/launch.h"

namespace internet::cuda {
namespace {

template <class S, int N>
INTERNET_HD math::Gaussian<S, N> narrowed(const math::Gaussian<double, N>& g) {
  math::Gaussian<S, N> out;
  INTERNET_UNROLL
  for (int a = 0; a < N; ++a) out.point[a] = S(g.point[a]);
  INTERNET_UNROLL
  for (int i = 0; i < math::axis_pairs<N>; ++i) out.exponent[i] = S(g.exponent[i]);
  return out;
}

template <class S, int N>
__global__ void motion_kernel(AnchorMotions<S, N> p) {
  const int64_t i = int64_t(blockIdx.x) * blockDim.x + threadIdx.x, b = i / (p.count + 1);
  if (b >= p.batch) return;
  const AnchorViews<S, N>& views = p.anchors.anchors;
  AnchorMotion<S, N> out{};
  const int64_t k = i - b * (p.count + 1);
  if (k == 0) {
    out.motion = math::pixel_stillness<N>(p.axes).template to<S>();
    if (p.backgrounds != nullptr) {
      const auto background = projective<N>(views.background, b).template to<double>();
      p.backgrounds[b] = math::pixel_motion(background, p.axes).template to<S>();
    }
  } else {
    const math::HeatMap<double, N> heat_map = p.anchors.at(b, k - 1);
    out.motion = math::pixel_motion(math::anchor_affine(views.at(b, k - 1)), p.axes).template to<S>();
    out.heat_map = {narrowed<S>(heat_map.driving), narrowed<S>(heat_map.source)};
  }
  p.motions[i] = out;
}

template <class S, int N>
INTERNET_HD void write(S* out, int64_t i, const math::Matrix<double, N>& matrix) {
  INTERNET_UNROLL
  for (int j = 0; j < N * N; ++j) out[i * N * N + j] = S(matrix.at[j / N][j % N]);
}

// One block of a single warp for each anchor.
template <class S, int N>
__global__ void heat_map_gradient_kernel(HeatMapGradients<S, N> p) {
  const int64_t i = blockIdx.x, b = i / p.count, k = i % p.count;
  math::HeatMapMoments<double, N> moments{};
  for (int64_t part = threadIdx.x; part < p.parts; part += warp_size) {
    moments.add(p.partials[(b * p.parts + part) * p.count + k]);
  }
  const bool has_covariances = p.covariance_source != nullptr;
  moments = {warp_moments(moments.driving, has_covariances), warp_moments(moments.source, has_covariances)};
  if (threadIdx.x != 0) return;
  math::KeyPoints<double, N> grad{};
  p.anchors.add_point_gradients(b, k, moments, grad);
  INTERNET_UNROLL
  for (int a = 0; a < N; ++a) {
    p.kp_source[i * N + a] += S(grad.source[a]);
    p.kp_driving[i * N + a] += S(grad.driving[a]);
  }
  if (!has_covariances) return;
  write(p.covariance_source, i, p.anchors.source_covariance_gradient(b, k, moments));
  write(p.covariance_driving, i, p.anchors.driving_covariance_gradient(b, k, moments));
}

}  // namespace

template <class S, int N>
cudaError_t anchor_motions(const AnchorMotions<S, N>& p, cudaStream_t stream) {
  return launch_each(motion_kernel<S, N>, p.batch * (p.count + 1), stream, p);
}

template <class S, int N>
cudaError_t heat_map_gradients(const HeatMapGradients<S, N>& p, cudaStream_t stream) {
  return launch(heat_map_gradient_kernel<S, N>, p.batch * p.count, warp_size, 0, stream, p);
}

#define INSTANTIATE(S, N)                                                        \
  template cudaError_t anchor_motions(const AnchorMotions<S, N>&, cudaStream_t); \
  template cudaError_t heat_map_gradients(const HeatMapGradients<S, N>&, cudaStream_t);
INTERNET_EACH_OPMATH_AND_AXES(INSTANTIATE)

}  // namespace internet::cuda
