#include "cuda/runtime/glue.h"

#include "arguments/volume_warp.h"
#include "cuda/scatter/scattered_gradient.h"
#include "cuda/volume_warp/kernels.h"

namespace internet::cuda {
namespace {

Tensor forward(Tensor volume, Tensor field, OptionalTensor confidence, std::string padding_mode,
               bool align_corners) {
  const VolumeWarpArguments a(volume, field, confidence, padding_mode, align_corners);
  const Device device(volume);
  Tensor output = a.empty_output();
  if (volume.numel() == 0) fill_zero(output, device.stream());  // nothing is read
  if (volume.numel() == 0 || output.numel() == 0) return output;
  with_storage_type(volume.scalar_type(), [&](auto storage) {
    using T = decltype(storage);
    constexpr int count = volume_vector<T>;
    const VolumeWarp<T> p{.samples = a.samples<opmath<T>>(),
                          .channels = a.channels(),
                          .volume = strided<const T, 5>(volume),
                          .output = strided<T, 5>(output)};
    check(volume_warp(p, in_vectors<T>(volume, count) && in_vectors<T>(output, count), device.stream()));
  });
  return output;
}

template <class T, class S = opmath<T>>
void motion_backward(const VolumeWarpArguments& a, const Tensor& grad_output, const Tensor& grad_field,
                     const Tensor& grad_confidence, cudaStream_t stream) {
  constexpr int count = volume_vector<T>;
  const VolumeMotionBackward<T> p{.samples = a.samples<S>(),
                                  .channels = a.channels(),
                                  .volume = strided<const T, 5>(a.volume),
                                  .grad_output = strided<const T, 5>(grad_output),
                                  .grad_field = data<S>(grad_field),
                                  .grad_confidence = a.confidence ? data<S>(grad_confidence) : nullptr};
  check(
      volume_motion_backward(p, in_vectors<T>(a.volume, count) && in_vectors<T>(grad_output, count), stream));
}

VolumeWarpGradients backward(Tensor grad_output, Tensor volume, Tensor field, OptionalTensor confidence,
                             std::string padding_mode, bool align_corners, bool need_volume, bool need_motion,
                             bool deterministic) {
  const VolumeWarpArguments a(volume, field, confidence, padding_mode, align_corners);
  a.check_grad_output(grad_output);
  const Device device(volume);
  ScatteredGradient grad_volume(volume, need_volume, deterministic, device.stream());
  Tensor grad_field = a.empty_grad_field(need_motion);
  Tensor grad_confidence = a.empty_grad_confidence(need_motion);
  if (grad_output.numel() == 0 || volume.numel() == 0) {
    for (const Tensor& gradient : {grad_volume.result(), grad_field, grad_confidence}) {
      fill_zero(gradient, device.stream());
    }
    return {grad_volume.result(), grad_field, grad_confidence};
  }
  if (grad_volume.deterministic()) {  // a sample contributes at most its gradient times its confidence
    Magnitudes largest(volume, device.stream());
    largest.measure(0, grad_output);
    if (confidence) largest.measure(1, *confidence);
    grad_volume.bound_by(largest, 1, confidence.has_value(), false, a.depth() * a.height() * a.width());
  }
  with_storage_type(volume.scalar_type(), [&](auto storage) {
    using T = decltype(storage);
    grad_volume.accumulate([&](const GradientSums& sums) {
      if (sums.data == nullptr) return;
      const VolumeScatter<T> p{.samples = a.samples<opmath<T>>(),
                               .channels = a.channels(),
                               .grad_output = strided<const T, 5>(grad_output),
                               .sums = sums};
      check(volume_scatter(p, sums.stride[1] == 1 && grad_output.stride(1) == 1, device.stream()));
    });
    if (need_motion) motion_backward<T>(a, grad_output, grad_field, grad_confidence, device.stream());
  });
  return {grad_volume.result(), grad_field, grad_confidence};
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(internet, CUDA, m) {
  m.impl("volume_warp", TORCH_BOX(&forward));
  m.impl("volume_warp_backward", TORCH_BOX(&backward));
}

}  // namespace internet::cuda
