// The gradient of an image that many threads sample (gradient_sums.h), as a tensor: from its allocation to
// its end in the type of the image.
#pragma once

#include <algorithm>

#include "glue.h"
#include "gradient_sums.h"

namespace internet::cuda {

inline std::array<int64_t, 4> sizes_of(const Tensor& image) {
  return {image.size(0), image.size(1), image.size(2), image.size(3)};
}

// The largest magnitudes of up to four tensors on the device, none of them known to the host.
class Magnitudes {
 public:
  Magnitudes(const Tensor& like, cudaStream_t stream)
      : bits_(empty<1>({4}, ScalarType::Long, like)), stream_(stream) {
    fill_zero(bits_, stream);
  }

  // Any strides; fewer than four axes count as one pixel each.
  void measure(int place, const Tensor& tensor) {
    if (tensor.numel() == 0) return;
    with_storage_type(tensor.scalar_type(), [&](auto storage) {
      using T = decltype(storage);
      Magnitude<T> p{.values = {}, .size = {1, 1, 1, 1}, .largest = data<>() + place};
      p.values.data = static_cast<const T*>(tensor.data_ptr());
      for (int64_t axis = 0; axis < tensor.dim(); ++axis) {
        p.values.stride[axis] = tensor.stride(axis);
        p.size[axis] = tensor.size(axis);
      }
      check(magnitude(p, stream_));
    });
  }
  template <class U = unsigned long long>
  U* data() const {
    return cuda::data<U>(bits_);
  }

 private:
  Tensor bits_;
  cudaStream_t stream_;
};

// How little a pass over an image's gradient may be.
enum class LeastPass { everything, an_image, some_channels };

class ScatteredGradient {
 public:
  ScatteredGradient(const Tensor& image, bool wanted, bool deterministic, LeastPass least,
                    cudaStream_t stream)
      : gradient_(wanted ? empty_image_like(image) : nothing(image)),
        scale_(nothing(image)),
        size_(sizes_of(image)),
        images_(size_[0]),
        channels_(size_[1]),
        deterministic_(wanted && deterministic),
        stream_(stream) {
    if (gradient_.numel() == 0 || least == LeastPass::everything) return;
    const int64_t planes = std::max<int64_t>(working_bytes / (sum_bytes() * pixels()), 1);
    images_ = std::clamp<int64_t>(planes / channels_, 1, images_);
    if (least == LeastPass::some_channels) {
      channels_ = std::min(channels_, std::max<int64_t>(planes / channel_unit, 1) * channel_unit);
    }
  }

  // Whether bound_by is to be called before anything is added.
  bool deterministic() const { return deterministic_; }
  // Of every pass but perhaps the last.
  int64_t channels_at_once() const { return channels_; }
  // Empty if not wanted.
  const Tensor& result() const { return gradient_; }

  // By what an output pixel can give.
  void bound_by(const Magnitudes& largest, double constant, bool has_mask, bool squared, int64_t pixels) {
    scale_ = empty<1>({2}, ScalarType::Double, gradient_);
    check(fixed_point_scale({.largest = largest.data(),
                             .constant = constant,
                             .has_mask = has_mask,
                             .squared = squared,
                             .pixels = pixels,
                             .scale = data<double>(scale_)},
                            stream_));
  }

  // Calls add(pass) for pass after pass, which is to add what the pass's images get.
  template <class F>
  void accumulate(F add) {
    if (gradient_.numel() == 0) return add(ScatterPass{0, images_, 0, channels_, {}});  // or not wanted
    const Tensor sums =
        in_place() ? gradient_ : empty_image({images_, channels_, size_[2], size_[3]}, sum_type(), gradient_);
    for (int64_t image = 0; image < size_[0]; image += images_) {
      for (int64_t channel = 0; channel < size_[1]; channel += channels_) {
        const int64_t first = in_place() ? image * sums.stride(0) + channel * sums.stride(1) : 0;
        const ScatterPass pass{image, std::min(images_, size_[0] - image), channel,
                               std::min(channels_, size_[1] - channel), sums_from(sums, first)};
        clear(pass);
        add(pass);
        if (!in_place()) finish(pass);
      }
    }
  }

 private:
  // A part of the L2 cache, which has 40 MB or more since sm_80.
  static constexpr int64_t working_bytes = 32 << 20;
  static constexpr int64_t channel_unit = 16;  // keeps vectors whole and aligned

  ScalarType sum_type() const { return deterministic_ ? ScalarType::Long : compute_type(gradient_); }
  int64_t sum_bytes() const { return sum_type() == ScalarType::Float ? sizeof(float) : sizeof(double); }
  bool in_place() const { return sum_type() == gradient_.scalar_type(); }
  int64_t pixels() const { return size_[2] * size_[3]; }

  // A pass's sums lie in runs: a pixel's channels, or an image's planes. The runs follow along this axis.
  bool pixel_major() const { return prefers_channels_last(gradient_); }
  int axis() const { return pixel_major() ? 3 : 0; }
  int64_t runs(const ScatterPass& pass) const { return pass.images * (pixel_major() ? pixels() : 1); }
  int64_t length(const ScatterPass& pass) const { return pass.channels * (pixel_major() ? 1 : pixels()); }

  GradientSums sums_from(const Tensor& tensor, int64_t first) const {
    GradientSums s{.data = static_cast<char*>(tensor.data_ptr()) + first * sum_bytes(), .scale = scale()};
    for (int i = 0; i < 4; ++i) s.stride[i] = tensor.stride(i);
    return s;
  }

  void clear(const ScatterPass& pass) const {
    const size_t width = length(pass) * sum_bytes(), step = pass.sums.stride[axis()] * sum_bytes();
    const size_t count = runs(pass);
    if (count == 1 || width == step) {
      check(cudaMemsetAsync(pass.sums.data, 0, count * width, stream_));
    } else {
      check(cudaMemset2DAsync(pass.sums.data, step, 0, width, count, stream_));
    }
  }

  void finish(const ScatterPass& pass) const {
    with_storage_type(gradient_.scalar_type(), [&](auto storage) {
      using T = decltype(storage);
      check(finish_sums<T>({.sums = pass.sums.data,
                            .scale = scale(),
                            .gradient = data<T>(gradient_) + pass.first_image * gradient_.stride(0) +
                                        pass.first_channel * gradient_.stride(1),
                            .runs = runs(pass),
                            .length = length(pass),
                            .sums_step = pass.sums.stride[axis()],
                            .gradient_step = gradient_.stride(axis())},
                           stream_));
    });
  }

  const double* scale() const { return deterministic_ ? data<const double>(scale_) : nullptr; }

  Tensor gradient_, scale_;
  std::array<int64_t, 4> size_;
  int64_t images_, channels_;  // of a pass
  bool deterministic_;
  cudaStream_t stream_;
};

}  // namespace internet::cuda
