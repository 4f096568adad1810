// Each coarse pixel of each channel gathers from the fine pixels that it contributes to: for progressive
// steps the rows are folded first, which neighbouring threads do for neighbouring fine columns, and then the
// columns.
#include "cuda/runtime/launch.h"
#include "cuda/runtime/vectors.h"
#include "cuda/sampling/map_adjoint.h"
#include "math/upsample_motion.h"

namespace internet::cuda {
namespace {

constexpr int threads = 256, coarse_columns = 64;  // of a block, which has a part of a coarse row
constexpr int phases_at_once = 32;

// Where the blocks of the first kernel lie.
struct CoarseTiles {
  int64_t batch, height, across;

  INTERNET_MEMBER explicit CoarseTiles(const MapResize& resize, int64_t batch)
      : batch(batch), height(resize.height), across((resize.width + coarse_columns - 1) / coarse_columns) {}
  INTERNET_MEMBER int64_t of_a_channel() const { return batch * height * across; }
};

// The sum over the fine pixels of one column that contribute to a coarse row, with their weights. `column`
// begins at the fine row (row - 1) * ratio.
template <class S>
__device__ __forceinline__ S fold_rows(const MapAdjoint<S>& p, const S* column, int64_t row) {
  const int64_t ratio = p.resize.ratio(), pitch = p.resize.fine_width;
  S sum = 0;
  for (int64_t part = 0; part < p.parts; ++part) {
    const S* fine = column + part * p.part_stride;
#pragma unroll 4
    for (int64_t t = 0; t < ratio; ++t) {
      const auto taps = math::fold_taps(math::upsample_taps<S>(ratio, t), row, p.resize.height);
      if (taps.before != 0) sum += taps.before * load(fine + t * pitch);
      sum += taps.here * load(fine + (ratio + t) * pitch);
      if (taps.after != 0) sum += taps.after * load(fine + (2 * ratio + t) * pitch);
    }
  }
  return sum;
}

// For progressive steps.
template <class S>
__global__ void __launch_bounds__(threads) fold_kernel(MapAdjoint<S> p) {
  __shared__ S folded[(coarse_columns + 2) * phases_at_once];  // (coarse columns, phases)
  const MapResize& resize = p.resize;
  const CoarseTiles tiles(resize, p.batch);
  const int64_t channel = blockIdx.x / tiles.of_a_channel(),
                tile = blockIdx.x - channel * tiles.of_a_channel();
  const int64_t line = tile / tiles.across, image = line / tiles.height, row = line - image * tiles.height;
  const int64_t first_column = (tile - line * tiles.across) * coarse_columns, ratio = resize.ratio();
  const S* plane = p.fine + (channel * p.batch + image) * resize.fine_height * resize.fine_width;
  const S* first_row = plane + (row - 1) * ratio * resize.fine_width;
  const int64_t column = first_column + threadIdx.x;
  const bool writes = threadIdx.x < coarse_columns && column < resize.width;
  S sum = 0;
  for (int64_t first = 0; first < ratio; first += phases_at_once) {
    const int phases = int(ratio < phases_at_once ? ratio : phases_at_once);
    for (int i = threadIdx.x; i < (coarse_columns + 2) * phases; i += threads) {
      const int64_t block = first_column - 1 + i / phases;
      const bool inside = block >= 0 && block < resize.width;
      folded[i] = inside ? fold_rows(p, first_row + block * ratio + first + i % phases, row) : S(0);
    }
    __syncthreads();
    for (int s = 0; writes && s < phases; ++s) {
      const auto taps = math::fold_taps(math::upsample_taps<S>(ratio, first + s), column, resize.width);
      const S* here = folded + (threadIdx.x + 1) * phases + s;
      if (taps.before != 0) sum += taps.before * here[-phases];
      sum += taps.here * here[0];
      if (taps.after != 0) sum += taps.after * here[phases];
    }
    __syncthreads();
  }
  if (!writes) return;
  S* coarse = p.coarse + p.channels * (line * resize.width + column) + channel;
  *coarse = p.accumulate ? *coarse + sum : sum;
}

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

// For an interpolation: a thread for each coarse pixel.
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
  const S sum = resize.fits_32_bits() ? fold_readers<int32_t>(p, plane, row, column)
                                      : fold_readers<int64_t>(p, plane, row, column);
  S* coarse = p.coarse + p.channels * pixel + channel;
  *coarse = p.accumulate ? *coarse + sum : sum;
}

}  // namespace

template <class S>
cudaError_t map_adjoint(const MapAdjoint<S>& p, cudaStream_t stream) {
  if (!p.resize.interpolates) {
    const int64_t blocks = p.channels * CoarseTiles(p.resize, p.batch).of_a_channel();
    return launch(fold_kernel<S>, blocks, threads, 0, stream, p);
  }
  return launch_each(adjoint_kernel<S>, p.channels * p.batch * p.resize.height * p.resize.width, stream, p);
}

template cudaError_t map_adjoint(const MapAdjoint<float>&, cudaStream_t);
template cudaError_t map_adjoint(const MapAdjoint<double>&, cudaStream_t);

}  // namespace internet::cuda
