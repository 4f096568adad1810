#include "cuda/anchors/anchor_affines.h"
#include "cuda/runtime/launch.h"
#include "cuda/runtime/warp_sum.h"

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

template <class S>
INTERNET_HD void add(math::Affine<double>& sum, const math::Affine<S>& s) {
  sum = {sum.xx + s.xx, sum.xy + s.xy, sum.yx + s.yx, sum.yy + s.yy, sum.x + s.x, sum.y + s.y};
}
template <class S>
INTERNET_HD void add(math::KeyPoints<double>& sum, const math::KeyPoints<S>& s) {
  sum = {{sum.source[0] + s.source[0], sum.source[1] + s.source[1]},
         {sum.driving[0] + s.driving[0], sum.driving[1] + s.driving[1]}};
}

// A warp, which is a block, for each anchor.
template <class S>
__global__ void gradient_kernel(AnchorGradients<S> p) {
  const int64_t i = blockIdx.x, b = i / p.count, k = i % p.count;
  math::Affine<double> g{};
  math::KeyPoints<double> direct{};
  for (int64_t part = threadIdx.x; part < p.parts; part += warp_size) {
    const int64_t from = (b * p.parts + part) * p.count + k;
    add(g, p.partials[from]);
    if (p.direct != nullptr) add(direct, p.direct[from]);
  }
  g = warp_sum(g);
  direct = warp_sum(direct);
  if (threadIdx.x != 0) return;
  math::Anchor<double> by = math::anchor_affine_vjp(p.anchors.at(b, k), g);
#pragma unroll
  for (int axis = 0; axis < 2; ++axis) {
    by.source[axis] += direct.source[axis];
    by.driving[axis] += direct.driving[axis];
  }
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
