// A thread for each coarse pixel, in both directions. In the forward pass it reads 3 x 3 coarse pixels and
// writes 2 x 2 fine ones, with one store for each pair in a row; in the backward pass it gathers from the 4 x
// 4 fine pixels that it contributes to.
#include "cuda/runtime/launch.h"
#include "cuda/runtime/storage.h"
#include "cuda/sampling/maps.h"
#include "cuda/upsample_motion/kernels.h"

namespace internet::cuda {
namespace {

// The coarse pixel of a thread.
struct Pixel {
  int64_t image, row, column;
};
INTERNET_HD Pixel pixel_of(int64_t index, int64_t height, int64_t width) {
  const int64_t line = index / width, image = line / height;
  return {image, line - image * height, index - line * width};
}

// Two fine values from three coarse ones.
template <class T>
INTERNET_HD Two<T> double_axis(T before, T here, T after) {
  return {math::upsample(math::upsample_taps<T>(2, 0), before, here, after),
          math::upsample(math::upsample_taps<T>(2, 1), before, here, after)};
}

// The fine values of one coarse pixel: upper row, then lower.
template <class T>
INTERNET_HD Four<T> double_pixel(const Map<T>& map, const Neighbours<int64_t>& row,
                                 const Neighbours<int64_t>& column) {
  auto rows = [&](int64_t x) {
    return double_axis(map.at(row.before, x), map.at(row.here, x), map.at(row.after, x));
  };
  const Two<T> west = rows(column.before), middle = rows(column.here), east = rows(column.after);
  const Two<T> upper = double_axis(west.first, middle.first, east.first);
  const Two<T> lower = double_axis(west.second, middle.second, east.second);
  return {upper.first, upper.second, lower.first, lower.second};
}

template <class T>
__global__ void forward_kernel(UpsampleMotion<T> p) {
  const int64_t index = int64_t(blockIdx.x) * blockDim.x + threadIdx.x;
  if (index >= p.batch * p.height * p.width) return;
  const Pixel pixel = pixel_of(index, p.height, p.width);
  const auto row = neighbours(pixel.row, p.height), column = neighbours(pixel.column, p.width);
  // in units of two fine pixels that lie side by side
  const int64_t upper = (pixel.image * p.height + pixel.row) * 2 * p.width + pixel.column,
                lower = upper + p.width;
  const Four<T> x = double_pixel(field_map(p.field, pixel.image, 0), row, column);
  const Four<T> y = double_pixel(field_map(p.field, pixel.image, 1), row, column);
  auto* field = reinterpret_cast<Four<T>*>(p.fine_field);
  field[upper] = {x.first, y.first, x.second, y.second};
  field[lower] = {x.third, y.third, x.fourth, y.fourth};
  if (p.fine_confidence == nullptr) return;
  const Four<T> c = double_pixel(confidence_map(p.confidence, pixel.image), row, column);
  auto* confidence = reinterpret_cast<Two<T>*>(p.fine_confidence);
  confidence[upper] = {c.first, c.second};
  confidence[lower] = {c.third, c.fourth};
}

// The weight of coarse pixel p in the fine pixels 2p - 1 ... 2p + 2, the only ones it contributes to; 0
// outside the map.
template <class T>
struct FoldWeights {
  T weight[4];

  INTERNET_MEMBER FoldWeights(int64_t p, int64_t size) {
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const int64_t fine = 2 * p - 1 + i;
      weight[i] = fine >= 0 && fine < 2 * size ? math::upsample_weight<T>(2, size, p, fine) : T(0);
    }
  }
};

template <class T>
INTERNET_HD T fold_pixel(const Map<T>& fine, const Pixel& pixel, const FoldWeights<T>& rows,
                         const FoldWeights<T>& columns) {
  T sum = 0;
#pragma unroll
  for (int i = 0; i < 4; ++i) {
#pragma unroll
    for (int j = 0; j < 4; ++j) {
      const T weight = rows.weight[i] * columns.weight[j];
      if (weight != 0) sum += weight * fine.at(2 * pixel.row - 1 + i, 2 * pixel.column - 1 + j);
    }
  }
  return sum;
}

template <class T>
__global__ void backward_kernel(UpsampleMotionBackward<T> p) {
  const int64_t index = int64_t(blockIdx.x) * blockDim.x + threadIdx.x;
  if (index >= p.batch * p.height * p.width) return;
  const Pixel pixel = pixel_of(index, p.height, p.width);
  const FoldWeights<T> rows(pixel.row, p.height), columns(pixel.column, p.width);
  reinterpret_cast<Two<T>*>(p.grad_field)[index] = {
      fold_pixel(field_map(p.grad_fine_field, pixel.image, 0), pixel, rows, columns),
      fold_pixel(field_map(p.grad_fine_field, pixel.image, 1), pixel, rows, columns)};
  if (p.grad_confidence == nullptr) return;
  p.grad_confidence[index] =
      fold_pixel(confidence_map(p.grad_fine_confidence, pixel.image), pixel, rows, columns);
}

}  // namespace

template <class T>
cudaError_t upsample_motion(const UpsampleMotion<T>& p, cudaStream_t stream) {
  return launch_each(forward_kernel<T>, p.batch * p.height * p.width, stream, p);
}
template <class T>
cudaError_t upsample_motion_backward(const UpsampleMotionBackward<T>& p, cudaStream_t stream) {
  return launch_each(backward_kernel<T>, p.batch * p.height * p.width, stream, p);
}

template cudaError_t upsample_motion(const UpsampleMotion<float>&, cudaStream_t);
template cudaError_t upsample_motion(const UpsampleMotion<double>&, cudaStream_t);
template cudaError_t upsample_motion_backward(const UpsampleMotionBackward<float>&, cudaStream_t);
template cudaError_t upsample_motion_backward(const UpsampleMotionBackward<double>&, cudaStream_t);

}  // namespace internet::cuda
