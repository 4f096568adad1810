// A thread for each coarse pixel of each map gathers the 3 x 3 blocks of fine pixels that it weighs: phase by
// phase, so that the weights of a phase are computed once.
#include "cuda/runtime/launch.h"
#include "cuda/runtime/vectors.h"
#include "cuda/sampling/upsample_adjoint.h"
#include "math/upsample_motion.h"

namespace internet::cuda {
namespace {

// Sum over the fine pixels of one phase, in row and in column, of one part. `first` is the fine pixel of
// that phase in the coarse pixel's own block; its neighbours in the other blocks are `down` and `right` away.
template <class S>
__device__ __forceinline__ S fold_phase(const S* first, int64_t down, int64_t right,
                                        const math::UpsampleTaps<S>& row,
                                        const math::UpsampleTaps<S>& column) {
  auto across = [&](const S* middle) {
    S sum = column.here * load(middle);
    if (column.before != 0) sum += column.before * load(middle - right);
    if (column.after != 0) sum += column.after * load(middle + right);
    return sum;
  };
  S sum = row.here * across(first);
  if (row.before != 0) sum += row.before * across(first - down);
  if (row.after != 0) sum += row.after * across(first + down);
  return sum;
}

template <class S>
INTERNET_HD int maps_of(const UpsampleAdjoint<S>& p) {
  return (p.field == nullptr ? 0 : 2) + (p.confidence == nullptr ? 0 : 1);
}

template <class S>
__global__ void fold_kernel(UpsampleAdjoint<S> p) {
  const int64_t index = int64_t(blockIdx.x) * blockDim.x + threadIdx.x, pixels = p.batch * p.height * p.width;
  if (index >= pixels * maps_of(p)) return;
  const int64_t map = index / pixels, pixel = index - map * pixels;
  const int64_t line = pixel / p.width, image = line / p.height;
  const int64_t row = line - image * p.height, column = pixel - line * p.width;
  const int64_t ratio = int64_t(1) << p.steps, pitch = p.width * ratio;
  const int64_t part = maps_of(p) * pixels * ratio * ratio;
  const S* block =
      p.fine + (map * p.batch + image) * p.height * ratio * pitch + row * ratio * pitch + column * ratio;
  S sum = 0;
  for (int64_t t = 0; t < ratio; ++t) {
    const auto rows = math::fold_taps(math::upsample_taps<S>(ratio, t), row, p.height);
    for (int64_t s = 0; s < ratio; ++s) {
      const auto columns = math::fold_taps(math::upsample_taps<S>(ratio, s), column, p.width);
      for (int64_t i = 0; i < p.parts; ++i) {
        sum += fold_phase(block + i * part + t * pitch + s, ratio * pitch, ratio, rows, columns);
      }
    }
  }
  S* coarse = p.field != nullptr && map < 2 ? p.field + 2 * pixel + map : p.confidence + pixel;
  *coarse = p.accumulate ? *coarse + sum : sum;
}

}  // namespace

template <class S>
cudaError_t upsample_adjoint(const UpsampleAdjoint<S>& p, cudaStream_t stream) {
  return launch_each(fold_kernel<S>, maps_of(p) * p.batch * p.height * p.width, stream, p);
}

template cudaError_t upsample_adjoint(const UpsampleAdjoint<float>&, cudaStream_t);
template cudaError_t upsample_adjoint(const UpsampleAdjoint<double>&, cudaStream_t);

}  // namespace internet::cuda
