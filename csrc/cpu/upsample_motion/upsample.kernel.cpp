#include "cpu/runtime/denormals.h"
#include "cpu/runtime/scratch.h"
#include "cpu/sampling/upsample_rows.h"
#include "cpu/upsample_motion/kernels.h"

namespace internet::cpu::INTERNET_ISA {

template <class T>
void upsample_motion(const UpsampleMotion<T>& p, int64_t begin, int64_t end) {
  FlushDenormals flush;
  const int64_t fine_width = 2 * p.width;
  Scratch<T> blended(p.width), fine_x(fine_width), fine_y(fine_width);
  for (int64_t task = begin; task < end; ++task) {
    const int64_t image = task / (2 * p.height), row = task % (2 * p.height);
    const auto& field = p.field;
    CoarseMap<T> map{field.data + image * field.stride[0], field.stride[1], field.stride[2], p.height,
                     p.width};
    upsample_row(map, 2, row, blended.data(), fine_x.data());
    map.data += field.stride[3];
    upsample_row(map, 2, row, blended.data(), fine_y.data());
    T* out = p.fine_field + task * fine_width * 2;
    for (int64_t x = 0; x < fine_width; ++x) {
      out[2 * x] = fine_x.data()[x];
      out[2 * x + 1] = fine_y.data()[x];
    }
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
  Scratch<T> scratch(fine_width);
  for (int64_t task = begin; task < end; ++task) {
    const int64_t image = task / p.height, row = task % p.height;
    auto fold = [&](const T* fine, int64_t row_stride, int64_t column_stride, T* coarse, int64_t step) {
      for (int64_t x = 0; x < p.width; ++x) coarse[x * step] = 0;
      fold_row(fine, row_stride, 2, p.height, p.width, row, scratch.data(), coarse, step, column_stride);
    };
    for (int64_t coordinate = 0; coordinate < 2; ++coordinate) {
      const auto& field = p.grad_fine_field;
      fold(field.data + image * field.stride[0] + coordinate * field.stride[3], field.stride[1],
           field.stride[2], p.grad_field + task * p.width * 2 + coordinate, 2);
    }
    const auto& confidence = p.grad_fine_confidence;
    if (confidence.data == nullptr) continue;
    fold(confidence.data + image * confidence.stride[0], confidence.stride[2], confidence.stride[3],
         p.grad_confidence + task * p.width, 1);
  }
}

template void upsample_motion<float>(const UpsampleMotion<float>&, int64_t, int64_t);
template void upsample_motion<double>(const UpsampleMotion<double>&, int64_t, int64_t);
template void upsample_motion_backward<float>(const UpsampleMotionBackward<float>&, int64_t, int64_t);
template void upsample_motion_backward<double>(const UpsampleMotionBackward<double>&, int64_t, int64_t);

}  // namespace internet::cpu::INTERNET_ISA
