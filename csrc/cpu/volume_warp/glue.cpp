#include <vector>

#include "arguments/volume_warp.h"
#include "cpu/runtime/launch.h"
#include "cpu/sampling/reach.h"
#include "cpu/volume_warp/kernels.h"

namespace internet::cpu {
namespace {

int64_t volume_rows(const VolumeWarpArguments& a) { return a.volume.size(2) * a.volume.size(3); }

// Nanoseconds for: a value of the output; a sample whose rows are located.
constexpr double value_time = 0.5, range_time = 1;

// How many tasks make waking a thread worthwhile, if there are this many for all values of the output.
int64_t tasks_per_thread(const VolumeWarpArguments& a, int64_t tasks) {
  const int64_t values = a.batch() * a.channels() * a.depth() * a.height() * a.width();
  return cpu::tasks_per_thread(value_time * values / tasks);
}

template <class S>
std::vector<RowRange> row_ranges(const VolumeWarpArguments& a, const SampledVolume<S>& samples) {
  const int64_t rows = a.batch() * samples.rows();
  std::vector<RowRange> ranges(rows);
  const VolumeRowRanges<S> p{.samples = samples, .row_ranges = ranges.data()};
  run(volume_row_ranges_kernel<S>(), p, rows, cpu::tasks_per_thread(range_time * a.width()));
  return ranges;
}

int64_t ceiling(int64_t n, int64_t d) { return (n + d - 1) / d; }

// How a volume, or its gradient, is divided into blocks of channels and bands of rows.
struct Cut {
  int64_t block, blocks, bands;
};
template <class T>
Cut cut(const VolumeWarpArguments& a, const Reach& reach, bool in_place, int64_t rows, int64_t tasks) {
  const int64_t block = in_place ? a.channels() : block_channels<T>(a.channels());
  const int64_t blocks = ceiling(a.channels(), block);
  return {block, blocks, std::min(rows, reach.bands(tasks, in_place))};
}

template <class T, class S = opmath<T>>
void motion_backward(const VolumeWarpArguments& a, const SampledVolume<S>& samples,
                     const std::vector<RowRange>& ranges, const Reach& reach, const Tensor& grad_output,
                     const Tensor& grad_field, const Tensor& grad_confidence) {
  const bool in_place = channels_side_by_side(a.volume) && channels_side_by_side(grad_output);
  const auto [block, blocks, bands] = cut<T>(a, reach, in_place, samples.rows(), a.batch());
  const VolumeMotionBackward<T> p{
      .samples = samples,
      .channels = a.channels(),
      .block = block,
      .bands = bands,
      .in_place = in_place,
      .row_ranges = ranges.data(),
      .volume = strided<const T, 5>(a.volume),
      .grad_output = strided<const T, 5>(grad_output),
      .grad_field = static_cast<S*>(grad_field.data_ptr()),
      .grad_confidence = a.confidence ? static_cast<S*>(grad_confidence.data_ptr()) : nullptr};
  const int64_t tasks = a.batch() * bands;
  run(volume_motion_backward_kernel<T>(), p, tasks, reach.grain(tasks, tasks_per_thread(a, tasks)));
}

template <class T, class S = opmath<T>>
void volume_backward(const VolumeWarpArguments& a, const SampledVolume<S>& samples,
                     const std::vector<RowRange>& ranges, const Reach& reach, const Tensor& grad_output,
                     const Tensor& grad_volume) {
  const bool in_place =
      std::is_same_v<T, S> && channels_side_by_side(grad_output) && channels_side_by_side(grad_volume);
  const auto [block, blocks, bands] = cut<T>(a, reach, in_place, volume_rows(a), a.batch());
  const VolumeBackward<T> p{.samples = samples,
                            .channels = a.channels(),
                            .block = block,
                            .bands = bands,
                            .in_place = in_place,
                            .row_ranges = ranges.data(),
                            .grad_output = strided<const T, 5>(grad_output),
                            .grad_volume = strided<T, 5>(grad_volume)};
  const int64_t tasks = a.batch() * blocks * bands;
  run(volume_backward_kernel<T>(), p, tasks, reach.grain(tasks, tasks_per_thread(a, tasks)));
}

}  // namespace

Tensor volume_warp(Tensor volume, Tensor field, OptionalTensor confidence, std::string padding_mode,
                   bool align_corners) {
  const VolumeWarpArguments a(volume, field, confidence, padding_mode, align_corners);
  Tensor output = a.empty_output();
  if (output.numel() == 0) return output;
  if (volume.numel() == 0) return torch::stable::zero_(output);  // nothing is read
  with_storage_type(volume.scalar_type(), [&](auto storage) {
    using T = decltype(storage);
    const auto samples = a.samples<opmath<T>>();
    const bool in_place = channels_side_by_side(volume) && channels_side_by_side(output);
    const std::vector<RowRange> ranges = row_ranges(a, samples);
    const Reach reach(ranges, volume_rows(a));
    const auto [block, blocks, bands] = cut<T>(a, reach, in_place, samples.rows(), a.batch());
    const VolumeWarp<T> p{.samples = samples,
                          .channels = a.channels(),
                          .block = block,
                          .bands = bands,
                          .in_place = in_place,
                          .row_ranges = ranges.data(),
                          .volume = strided<const T, 5>(volume),
                          .output = strided<T, 5>(output)};
    const int64_t tasks = a.batch() * blocks * bands;
    run(volume_warp_kernel<T>(), p, tasks, reach.grain(tasks, tasks_per_thread(a, tasks)));
  });
  return output;
}

VolumeWarpGradients volume_warp_backward(Tensor grad_output, Tensor volume, Tensor field,
                                         OptionalTensor confidence, std::string padding_mode,
                                         bool align_corners, bool need_volume, bool need_motion,
                                         bool /*deterministic: always*/) {
  const VolumeWarpArguments a(volume, field, confidence, padding_mode, align_corners);
  a.check_grad_output(grad_output);
  Tensor grad_volume = need_volume ? empty_image_like(volume) : nothing(volume);
  Tensor grad_field = a.empty_grad_field(need_motion);
  Tensor grad_confidence = a.empty_grad_confidence(need_motion);
  if (grad_output.numel() == 0 || volume.numel() == 0) {
    for (Tensor* gradient : {&grad_volume, &grad_field, &grad_confidence}) torch::stable::zero_(*gradient);
    return {grad_volume, grad_field, grad_confidence};
  }
  with_storage_type(volume.scalar_type(), [&](auto storage) {
    using T = decltype(storage);
    const auto samples = a.samples<opmath<T>>();
    const std::vector<RowRange> ranges = row_ranges(a, samples);
    const Reach reach(ranges, volume_rows(a));
    if (need_volume) volume_backward<T>(a, samples, ranges, reach, grad_output, grad_volume);
    if (need_motion) {
      motion_backward<T>(a, samples, ranges, reach, grad_output, grad_field, grad_confidence);
    }
  });
  return {grad_volume, grad_field, grad_confidence};
}

STABLE_TORCH_LIBRARY_IMPL(internet, CPU, m) {
  m.impl("volume_warp", TORCH_BOX(&volume_warp));
  m.impl("volume_warp_backward", TORCH_BOX(&volume_warp_backward));
}

}  // namespace internet::cpu
