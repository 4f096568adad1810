// The gradient of an image that many threads sample (gradient_sums.h), as a tensor: from its allocation to
// its end in the type of the image.
#pragma once

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

class ScatteredGradient {
 public:
  // Sums of zero for every pixel of `image`, in fixed point if they are to be deterministic.
  ScatteredGradient(const Tensor& image, bool wanted, bool deterministic, cudaStream_t stream)
      : gradient_(wanted ? empty_image_like(image) : nothing(image)),
        sums_(gradient_),
        scale_(nothing(image)),
        deterministic_(wanted && deterministic),
        stream_(stream) {
    if (!wanted) return;
    const ScalarType type = deterministic ? ScalarType::Long : motion_type(image);
    if (type != image.scalar_type()) sums_ = empty_image(sizes_of(image), type, image);
    fill_zero(sums_, stream);
  }

  bool deterministic() const { return deterministic_; }

  // Before anything is added, if deterministic: what an output pixel can give.
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

  GradientSums sums() const {
    GradientSums s;
    if (gradient_.dim() != 4) return s;
    s.data = sums_.data_ptr();
    for (int axis = 0; axis < 4; ++axis) s.stride[axis] = sums_.stride(axis);
    s.scale = scale();
    return s;
  }

  // After everything is added. Empty if not wanted.
  Tensor finish() {
    if (sums_.get() != gradient_.get() && gradient_.numel() > 0) {
      with_storage_type(gradient_.scalar_type(), [&](auto storage) {
        using T = decltype(storage);
        check(finish_sums<T>({.sums = sums_.data_ptr(),
                              .scale = scale(),
                              .gradient = data<T>(gradient_),
                              .count = gradient_.numel()},
                             stream_));
      });
    }
    return gradient_;
  }

 private:
  const double* scale() const { return deterministic_ ? data<const double>(scale_) : nullptr; }

  Tensor gradient_, sums_, scale_;
  bool deterministic_;
  cudaStream_t stream_;
};

}  // namespace internet::cuda
