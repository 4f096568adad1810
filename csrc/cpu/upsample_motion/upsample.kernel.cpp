#include "cpu/runtime/denormals.h"
#include "cpu/runtime/scratch.h"
#include "cpu/sampling/upsample_rows.h"
#include "cpu/upsample_motion/kernels.h"

namespace internet::cpu::INTERNET_ISA {

// x0 y0 x1 y1 ... to a row of x and a row of y, and back.
template <class T>
INTERNET_HD void split_pairs(const T* __restrict pairs, int64_t width, T* __restrict rows) {
  for (int64_t x = 0; x < width; ++x) rows[x] = pairs[2 * x], rows[width + x] = pairs[2 * x + 1];
}
template <class T>
INTERNET_HD void join_pairs(const T* __restrict rows, int64_t width, T* __restrict pairs) {
  for (int64_t x = 0; x < width; ++x) pairs[2 * x] = rows[x], pairs[2 * x + 1] = rows[width + x];
}

template <class T>
void upsample_motion(const UpsampleMotion<T>& p, int64_t begin, int64_t end) {
  FlushDenormals flush;
  const int64_t fine_width = 2 * p.width;
  Scratch<T> blended(p.width), fine(2 * fine_width);
  for (int64_t task = begin; task < end; ++task) {
    const int64_t image = task / (2 * p.height), row = task % (2 * p.height);
    const auto& field = p.field;
    CoarseMap<T> map{field.data + image * field.stride[0], field.stride[1], field.stride[2], p.height,
                     p.width};
    upsample_row(map, 2, row, blended.data(), fine.data());
    map.data += field.stride[3];
    upsample_row(map, 2, row, blended.data(), fine.data() + fine_width);
    join_pairs(fine.data(), fine_width, p.fine_field + task * fine_width * 2);
    const auto& confidence = p.confidence;
    if (confidence.data == nullptr) continue;
    map = {confidence.data + image * confidence.stride[0], confidence.stride[2], confidence.stride[3],
           p.height, p.width};
    upsample_row(map, 2, row, blended.data(), p.fine_confidence + task * fine_width);
  }
}

template <class T>
void upsample_motion_backward(const UpsampleMotionBackward<T>& p, int64_t begin, int64_t end) {
  FlushDenormals flush;
  const int64_t fine_width = 2 * p.width;
  const auto &field = p.grad_fine_field, &confidence = p.grad_fine_confidence;
  // x and y of a pixel, and the pixels of a row, are mostly neighbours: then a row is one run of values
  const bool packed = field.stride[3] == 1 && field.stride[2] == 2;
  Scratch<T> pairs(2 * fine_width), sums(2 * fine_width), coarse(2 * p.width);
  for (int64_t task = begin; task < end; ++task) {
    const int64_t image = task / p.height, row = task % p.height;
    auto down = [&](const T* fine, int64_t row_stride, int64_t step, int64_t width, T* out) {
      fold_down(fine, row_stride, 2, p.height, width, row, out, step);
    };
    const T* in = field.data + image * field.stride[0];
    if (packed) {
      down(in, field.stride[1], 1, 2 * fine_width, pairs.data());
      split_pairs(pairs.data(), fine_width, sums.data());
    } else {
      down(in, field.stride[1], field.stride[2], fine_width, sums.data());
      down(in + field.stride[3], field.stride[1], field.stride[2], fine_width, sums.data() + fine_width);
    }
    fold_along<T>(sums.data(), 2, p.width, nullptr, coarse.data());
    fold_along<T>(sums.data() + fine_width, 2, p.width, nullptr, coarse.data() + p.width);
    join_pairs(coarse.data(), p.width, p.grad_field + task * p.width * 2);
    if (confidence.data == nullptr) continue;
    down(confidence.data + image * confidence.stride[0], confidence.stride[2], confidence.stride[3],
         fine_width, sums.data());
    fold_along<T>(sums.data(), 2, p.width, nullptr, p.grad_confidence + task * p.width);
  }
}

template void upsample_motion<float>(const UpsampleMotion<float>&, int64_t, int64_t);
template void upsample_motion<double>(const UpsampleMotion<double>&, int64_t, int64_t);
template void upsample_motion_backward<float>(const UpsampleMotionBackward<float>&, int64_t, int64_t);
template void upsample_motion_backward<double>(const UpsampleMotionBackward<double>&, int64_t, int64_t);

}  // namespace internet::cpu::INTERNET_ISA
