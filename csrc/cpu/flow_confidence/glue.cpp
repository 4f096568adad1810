#include <limits>

#include "arguments/flow_confidence.h"
#include "cpu/flow_confidence/kernels.h"
#include "cpu/runtime/launch.h"

namespace internet::cpu {
namespace {

// Images are copied in groups of about this many pixels, so that the copies stay in the cache.
constexpr int64_t pixels_at_once = int64_t(1) << 18;

// Nanoseconds a pixel.
constexpr double copy_time = 0.5, mask_time = 2;

Tensor forward(Tensor flow_forward, Tensor flow_backward, double consistency_scale, double consistency_offset,
               bool with_boundary, double boundary_scale, double boundary_offset) {
  const FlowConfidenceArguments a(flow_forward, flow_backward,
                                  {consistency_scale, consistency_offset, boundary_scale, boundary_offset},
                                  with_boundary);
  int64_t batch = a.batch();
  const int64_t height = a.height(), width = a.width();
  const Tensor mask = a.empty_mask();
  if (mask.numel() == 0) return mask;
  const FlowPixels shape{height, width};
  STD_TORCH_CHECK(shape.size() / 2 <= std::numeric_limits<int32_t>::max(),
                  "flow_backward: images of more than 2^31 pixels are not supported");
  with_storage_type(flow_forward.scalar_type(), [&](auto storage) {
    using T = decltype(storage);
    using S = opmath<T>;
    int64_t images = std::clamp<int64_t>(pixels_at_once / (height * width), 1, batch);
    // Allocated like an output, so that it reuses memory: mapping fresh memory takes longer than filling it.
    Tensor pixels = empty<1>({images * shape.size()}, compute_type(mask), mask);
    FlowToPixels<T> backward{.shape = shape,
                             .flow = strided<const T, 4>(flow_backward),
                             .pixels = static_cast<S*>(pixels.data_ptr())};
    FlowConfidence<T> p{.shape = shape,
                        .flow_forward = strided<const T, 4>(flow_forward),
                        .flow_backward = backward.pixels,
                        .mask = static_cast<T*>(mask.data_ptr()),
                        .bounds = a.bounds.as<S>(),
                        .with_boundary = with_boundary};
    for (; batch > 0; batch -= images) {
      images = std::min(images, batch);
      run(flow_to_pixels_kernel<T>(), backward, images * shape.rows(), tasks_per_thread(copy_time * width));
      run(flow_confidence_kernel<T>(), p, images * height, tasks_per_thread(mask_time * width));
      backward.flow.data += images * backward.flow.stride[0];
      p.flow_forward.data += images * p.flow_forward.stride[0];
      p.mask += images * height * width;
    }
  });
  return mask;
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(internet, CPU, m) { m.impl("flow_confidence", TORCH_BOX(&forward)); }

}  // namespace internet::cpu
