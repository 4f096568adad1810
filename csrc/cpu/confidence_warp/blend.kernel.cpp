// The backward pass of what is blended in: a row of the output at a time, in planes of four channels,
// whatever the layouts.
#include <algorithm>

#include "cpu/confidence_warp/kernels.h"
#include "cpu/runtime/denormals.h"
#include "cpu/sampling/map_rows.h"
#include "cpu/simd/few_channels.h"

namespace internet::cpu::INTERNET_ISA {
namespace {

// Columns that are done at a time: with their four channels they fit in the first-level cache. Of pixels
// whose channels lie side by side, so few that all channels do.
constexpr int64_t most_columns = 512, columns_of_pixels = 64;

template <class T>
class BlendRow {
  using S = opmath<T>;

 public:
  explicit BlendRow(const WarpBlendBackward<T>& p)
      : p_(p),
        columns_(p.blend.stride[3] == 1 || p.grad_output.stride[3] == 1 ? most_columns : columns_of_pixels),
        blend_(4 * columns_),
        gradient_(4 * columns_) {}

  void run(int64_t image, int64_t y, const S* confidence, S* dots) {
    for (int64_t x = 0; x < p_.motion.width; x += columns_) {
      const int64_t count = std::min(columns_, p_.motion.width - x);
      if (dots != nullptr) std::fill_n(dots + x, count, S(0));
      for (int64_t channel = 0; channel < p_.channels; channel += 4) {
        const int64_t channels = std::min<int64_t>(4, p_.channels - channel);
        read_planes(row_of(p_.grad_output, image, y, channel), x, count, gradient_.data(), columns_);
        if (dots != nullptr) {
          read_planes(row_of(p_.blend, image, y, channel), x, count, blend_.data(), columns_);
          for (int64_t k = 0; k < channels; ++k) add_products(k, count, dots + x);
        }
        if (p_.grad_blend.data == nullptr) continue;
        for (int64_t k = 0; k < channels; ++k) scale(k, count, confidence + x);
        write_planes(row_of(p_.grad_blend, image, y, channel), x, count, gradient_.data(), columns_);
      }
    }
  }

 private:
  template <class U>
  ImageRow<U> row_of(const Strided<U, 4>& image, int64_t batch, int64_t y, int64_t channel) const {
    const auto& stride = image.stride;
    return {image.data + batch * stride[0] + channel * stride[1] + y * stride[2], stride[1], stride[3],
            p_.motion.width, std::min<int64_t>(4, p_.channels - channel)};
  }
  void add_products(int64_t k, int64_t count, S* __restrict dots) const {
    const S *gradient = gradient_.data() + k * columns_, *blend = blend_.data() + k * columns_;
    for (int64_t x = 0; x < count; ++x) dots[x] += gradient[x] * blend[x];
  }
  void scale(int64_t k, int64_t count, const S* __restrict confidence) {
    S* gradient = gradient_.data() + k * columns_;
    for (int64_t x = 0; x < count; ++x) gradient[x] *= 1 - confidence[x];
  }

  const WarpBlendBackward<T>& p_;
  int64_t columns_;
  Scratch<S> blend_, gradient_;
};

}  // namespace

template <class T>
void warp_blend_backward(const WarpBlendBackward<T>& p, int64_t begin, int64_t end) {
  using S = opmath<T>;
  FlushDenormals flush;
  const int64_t height = p.motion.height, width = p.motion.width;
  MapRows<S> confidence(p.motion.confidence_resize);
  BlendRow<T> row(p);
  for (int64_t task = begin; task < end; ++task) {
    const int64_t image = task / height, y = task % height;
    row.run(image, y, confidence.at(confidence_map(p.motion, image), y),
            p.blend_dots == nullptr ? nullptr : p.blend_dots + task * width);
  }
}

INTERNET_INSTANTIATE_KERNEL(warp_blend_backward, WarpBlendBackward)

}  // namespace internet::cpu::INTERNET_ISA
