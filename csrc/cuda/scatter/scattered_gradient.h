// The gradient of an image, or volume, that many threads sample (gradient_sums.h), as a tensor: from its
// allocation to its conversion to the type of the image.
#pragma once

#include "cuda/runtime/glue.h"
#include "cuda/scatter/gradient_sums.h"

namespace internet::cuda {

// The largest magnitudes of up to four tensors. They stay on the device, unknown to the host.
class Magnitudes {
 public:
  Magnitudes(const Tensor& like, cudaStream_t stream)
      : bits_(empty<1>({4}, ScalarType::Long, like)), stream_(stream) {
    fill_zero(bits_, stream);
  }

  // Any strides; missing axes count as 1.
  void measure(int place, const Tensor& tensor) {
    with_storage_type(tensor.scalar_type(), [&](auto storage) {
      using T = decltype(storage);
      Magnitude<T> p{.values = {}, .size = {1, 1, 1, 1, 1}, .largest = data<>() + place};
      p.values.data = static_cast<const T*>(tensor.data_ptr());
      for (int64_t axis = 0; axis < tensor.dim(); ++axis) {
        const int64_t to = axis < 2 ? axis : axis + 5 - tensor.dim();
        p.values.stride[to] = tensor.stride(axis);
        p.size[to] = tensor.size(axis);
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
  ScatteredGradient(const Tensor& image, bool wanted, bool deterministic, cudaStream_t stream)
      : gradient_(wanted ? empty_image_like(image) : nothing(image)),
        scale_(nothing(image)),
        deterministic_(wanted && deterministic),
        stream_(stream) {}

  // Whether bound_by must be called before anything is added.
  bool deterministic() const { return deterministic_; }
  // Empty if not wanted.
  const Tensor& result() const { return gradient_; }

  // Bounds what an output pixel can contribute.
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

  // Calls add(sums), which must add the gradient of each image to them.
  template <class F>
  void accumulate(F add) {
    if (gradient_.numel() == 0) return add(GradientSums{});  // or not wanted
    const Tensor sums = in_place() ? gradient_ : empty_image_like(gradient_, sum_type());
    fill_zero(sums, stream_);
    GradientSums view{.data = sums.data_ptr(), .scale = scale()};
    // The rows of a volume are those of a tall image: in both layouts its slices are consecutive.
    for (int i = 0; i < 4; ++i) view.stride[i] = sums.stride(i < 2 ? i : i + sums.dim() - 4);
    add(view);
    if (!in_place()) finish(sums);
  }

 private:
  ScalarType sum_type() const { return deterministic_ ? ScalarType::Long : compute_type(gradient_); }
  bool in_place() const { return sum_type() == gradient_.scalar_type(); }

  void finish(const Tensor& sums) const {
    with_storage_type(gradient_.scalar_type(), [&](auto storage) {
      using T = decltype(storage);
      check(finish_sums<T>({.sums = sums.data_ptr(),
                            .scale = scale(),
                            .gradient = data<T>(gradient_),
                            .count = gradient_.numel()},
                           stream_));
    });
  }

  const double* scale() const { return deterministic_ ? data<const double>(scale_) : nullptr; }

  Tensor gradient_, scale_;
  bool deterministic_;
  cudaStream_t stream_;
};

}  // namespace internet::cuda
