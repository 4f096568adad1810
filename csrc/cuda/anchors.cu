#include "anchors.h"
#include "launch.h"
#include "warp_sum.h"

namespace internet::cuda {
namespace {

template <class S>
__global__ void affine_kernel(AnchorAffines<S> p) {
  const int64_t i = int64_t(blockIdx.x) * blockDim.x + threadIdx.x;
  if (i >= p.batch * p.count) return;
  const math::Affine<double> t = math::anchor_affine(p.anchors.at(i / p.count, i % p.count));
  p.affine[i] = {S(t.xx), S(t.xy), S(t.yx), S(t.yy), S(t.x), S(t.y)};
}

template <int n, class S>
INTERNET_HD void write(S* out, int64_t i, const double* values) {
  if (out == nullptr) return;
#pragma unroll
  for (int j = 0; j < n; ++j) out[i * n + j] = S(values[j]);
}

// A warp, which is a block, for each anchor.
template <class S>
__global__ void gradient_kernel(AnchorGradients<S> p) {
  const int64_t i = blockIdx.x, b = i / p.count, k = i % p.count;
  math::Affine<double> g{};
  for (int64_t part = threadIdx.x; part < p.parts; part += warp_size) {
    const math::Affine<S> s = p.partials[(b * p.parts + part) * p.count + k];
    g = {g.xx + s.xx, g.xy + s.xy, g.yx + s.yx, g.yy + s.yy, g.x + s.x, g.y + s.y};
  }
  g = warp_sum(g);
  if (threadIdx.x != 0) return;
  const math::Anchor<double> by = math::anchor_affine_vjp(p.anchors.at(b, k), g);
  write<2>(p.kp_source, i, by.source);
  write<2>(p.kp_driving, i, by.driving);
  write<4>(p.jac_source, i, by.source_jacobian);
  write<4>(p.jac_driving, i, by.driving_jacobian);
}

}  // namespace

template <class S>
cudaError_t anchor_affines(const AnchorAffines<S>& params, cudaStream_t stream) {
  return launch_each(affine_kernel<S>, params.batch * params.count, stream, params);
}
template <class S>
cudaError_t anchor_gradients(const AnchorGradients<S>& params, cudaStream_t stream) {
  return launch(gradient_kernel<S>, params.batch * params.count, warp_size, 0, stream, params);
}

template cudaError_t anchor_affines(const AnchorAffines<float>&, cudaStream_t);
template cudaError_t anchor_affines(const AnchorAffines<double>&, cudaStream_t);
template cudaError_t anchor_gradients(const AnchorGradients<float>&, cudaStream_t);
template cudaError_t anchor_gradients(const AnchorGradients<double>&, cudaStream_t);

}  // namespace internet::cuda
