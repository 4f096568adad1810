#include "cuda/anchors/anchor_affines.h"
#include "cuda/runtime/instantiate.h"
#include "cuda/runtime/launch.h"
#include "cuda/runtime/warp_sum.h"

namespace internet::cuda {
namespace {

template <class S, int N>
__global__ void affine_kernel(AnchorAffines<S, N> p) {
  const int64_t i = int64_t(blockIdx.x) * blockDim.x + threadIdx.x;
  if (i >= p.batch * p.count) return;
  p.affine[i] = math::anchor_affine(p.anchors.at(i / p.count, i % p.count)).template to<S>();
}

template <class S, int N>
INTERNET_HD void write(S* out, int64_t i, const double (&values)[N]) {
  if (out == nullptr) return;
#pragma unroll
  for (int j = 0; j < N; ++j) out[i * N + j] = S(values[j]);
}
template <class S, int N>
INTERNET_HD void write(S* out, int64_t i, const double (&matrix)[N][N]) {
#pragma unroll
  for (int row = 0; row < N; ++row) write(out, i * N + row, matrix[row]);
}

// The sum over the parts of map `map`, of `maps` per image. Lane 0 gets it; all 32 lanes must take part.
template <class Sum, class Map>
__device__ __forceinline__ Sum sum_of_parts(const Map* partials, int64_t parts, int64_t maps, int64_t image,
                                            int64_t map) {
  Sum sum{};
#pragma unroll 4
  for (int64_t part = threadIdx.x; part < parts; part += warp_size) {
    sum.add(partials[(image * parts + part) * maps + map]);
  }
  return warp_sum(sum);
}

template <class S, int N>
__device__ __forceinline__ void anchor_gradient(const AnchorGradients<S, N>& p, int64_t image, int64_t k) {
  const auto g = sum_of_parts<math::Affine<double, N>>(p.partials, p.parts, p.count, image, k);
  if (threadIdx.x != 0) return;
  const int64_t i = image * p.count + k;
  if (p.jac_source == nullptr && p.jac_driving == nullptr) {
    const auto grad = math::anchor_translation_vjp(g.offset);
    write(p.kp_source, i, grad.source);
    write(p.kp_driving, i, grad.driving);
    return;
  }
  const math::Anchor<double, N> grad = math::anchor_affine_vjp(p.anchors.at(image, k), g);
  write(p.kp_source, i, grad.source);
  write(p.kp_driving, i, grad.driving);
  write(p.jac_source, i, grad.source_jacobian);
  write(p.jac_driving, i, grad.driving_jacobian);
}

template <class S, int N>
__device__ __forceinline__ void background_gradient(const AnchorGradients<S, N>& p, int64_t image) {
  const auto g = sum_of_parts<math::Projective<double, N>>(p.background_partials, p.parts, 1, image, 0);
  if (threadIdx.x != 0) return;
#pragma unroll
  for (int i = 0; i <= N; ++i) {
    S* row = p.background + (image * (N + 1) + i) * (N + 1);
#pragma unroll
    for (int j = 0; j < N; ++j) row[j] = S(g.matrix[i][j]);
    row[N] = S(g.offset[i]);
  }
}

// One block of a single warp for each anchor and, if there is one, each background.
template <class S, int N>
__global__ void gradient_kernel(AnchorGradients<S, N> p) {
  const int64_t i = blockIdx.x, anchors = p.batch * p.count;
  if (i < anchors) {
    anchor_gradient(p, i / p.count, i % p.count);
  } else {
    background_gradient(p, i - anchors);
  }
}

}  // namespace

template <class S, int N>
cudaError_t anchor_affines(const AnchorAffines<S, N>& params, cudaStream_t stream) {
  return launch_each(affine_kernel<S, N>, params.batch * params.count, stream, params);
}
template <class S, int N>
cudaError_t anchor_gradients(const AnchorGradients<S, N>& params, cudaStream_t stream) {
  const int64_t backgrounds = params.background == nullptr ? 0 : params.batch;
  return launch(gradient_kernel<S, N>, params.batch * params.count + backgrounds, warp_size, 0, stream,
                params);
}

#define INSTANTIATE(S, N)                                                        \
  template cudaError_t anchor_affines(const AnchorAffines<S, N>&, cudaStream_t); \
  template cudaError_t anchor_gradients(const AnchorGradients<S, N>&, cudaStream_t);
INTERNET_EACH_OPMATH_AND_AXES(INSTANTIATE)

}  // namespace internet::cuda
