// A thread for each coarse pixel of each channel gathers from the fine pixels that it contributes to.
#include "cuda/runtime/launch.h"
#include "cuda/runtime/vectors.h"
#include "cuda/sampling/map_adjoint.h"
#include "math/upsample_motion.h"

namespace internet::cuda {
namespace {

// The sum over the fine pixels of one phase, in row and column, of one part. `first` is the fine pixel of
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

// For progressive steps: the 3 x 3 blocks of fine pixels around the coarse one, phase by phase, so that the
// weights of a phase are computed once.
template <class S>
__device__ __forceinline__ S fold_blocks(const MapAdjoint<S>& p, const S* plane, int64_t row,
                                         int64_t column) {
  const MapResize& resize = p.resize;
  const int64_t ratio = resize.ratio(), pitch = resize.fine_width;
  const S* block = plane + row * ratio * pitch + column * ratio;
  S sum = 0;
  for (int64_t t = 0; t < ratio; ++t) {
    const auto rows = math::fold_taps(math::upsample_taps<S>(ratio, t), row, resize.height);
    for (int64_t s = 0; s < ratio; ++s) {
      const auto columns = math::fold_taps(math::upsample_taps<S>(ratio, s), column, resize.width);
      for (int64_t i = 0; i < p.parts; ++i) {
        sum += fold_phase(block + i * p.part_stride + t * pitch + s, ratio * pitch, ratio, rows, columns);
      }
    }
  }
  return sum;
}

// For an interpolation.
template <class Index, class S>
__device__ __forceinline__ S fold_readers(const MapAdjoint<S>& p, const S* plane, int64_t row,
                                          int64_t column) {
  const auto rows = p.resize.template rows<Index>();
  const auto columns = p.resize.template columns<Index>();
  const Index last_row = rows.first_beyond(Index(row)), last_column = columns.first_beyond(Index(column));
  S sum = 0;
  for (Index y = rows.first_reader(Index(row)); y < last_row; ++y) {
    const S row_weight = rows.template weight<S>(Index(row), y);
    for (Index x = columns.first_reader(Index(column)); x < last_column; ++x) {
      const S weight = row_weight * columns.template weight<S>(Index(column), x);
      if (weight == 0) continue;
      const S* fine = plane + y * p.resize.fine_width + x;
      for (int64_t i = 0; i < p.parts; ++i) sum += weight * load(fine + i * p.part_stride);
    }
  }
  return sum;
}

template <class S>
__global__ void adjoint_kernel(MapAdjoint<S> p) {
  const MapResize& resize = p.resize;
  const int64_t index = int64_t(blockIdx.x) * blockDim.x + threadIdx.x,
                pixels = p.batch * resize.height * resize.width;
  if (index >= pixels * p.channels) return;
  const int64_t channel = index / pixels, pixel = index - channel * pixels;
  const int64_t line = pixel / resize.width, image = line / resize.height;
  const int64_t row = line - image * resize.height, column = pixel - line * resize.width;
  const S* plane = p.fine + (channel * p.batch + image) * resize.fine_height * resize.fine_width;
  S sum;
  if (!resize.interpolates) {
    sum = fold_blocks(p, plane, row, column);
  } else if (resize.fits_32_bits()) {
    sum = fold_readers<int32_t>(p, plane, row, column);
  } else {
    sum = fold_readers<int64_t>(p, plane, row, column);
  }
  S* coarse = p.coarse + p.channels * pixel + channel;
  *coarse = p.accumulate ? *coarse + sum : sum;
}

}  // namespace

template <class S>
cudaError_t map_adjoint(const MapAdjoint<S>& p, cudaStream_t stream) {
  return launch_each(adjoint_kernel<S>, p.channels * p.batch * p.resize.height * p.resize.width, stream, p);
}

template cudaError_t map_adjoint(const MapAdjoint<float>&, cudaStream_t);
template cudaError_t map_adjoint(const MapAdjoint<double>&, cudaStream_t);

}  // namespace internet::cuda
