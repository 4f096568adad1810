#include <cstring>

#include "cpu/confidence_warp/blend_pixels.h"
#include "cpu/confidence_warp/pixel_backward.h"
#include "cpu/runtime/denormals.h"
#include "cpu/sampling/resident_rows.h"
#include "cpu/simd/nchw_nhwc.h"
#include "cpu/simd/pixel_sums.h"

namespace internet::cpu::INTERNET_ISA {
namespace {

// A block of channels of one band. Its resident rows are in place or in rings. The scatter itself is in
// pixel_backward.h.
template <int K, class T>
class BandBackward {
  using S = opmath<T>;
  using Tile = PlaneTile<K, T>;

 public:
  BandBackward(const ConfidenceWarpBackward<T>& p, int64_t image, int64_t first_channel, Band band)
      : p_(p),
        image_(image),
        first_channel_(first_channel),
        channels_(std::min(p.block, p.channels - first_channel)),
        padded_(p.in_place ? channels_ : (channels_ + Tile::channels - 1) / Tile::channels * Tile::channels),
        band_(band),
        window_{std::max<int64_t>(band.begin - 1, 0), std::min(band.end + 1, p.motion.height)},
        ranges_(p.row_ranges + image * p.motion.height),
        sorted_(p.order.starts != nullptr),
        features_(p.grad_features.data != nullptr),
        motion_(p.corner_dots != nullptr),
        slots_(sorted_ ? 2 : resident_rows()),
        source_rows_(p.motion.height),
        target_rows_(p.motion.height),
        source_ring_(motion_ && !dense(p.features) ? slots_ * row_size() : 0),
        target_ring_(features_ && !p.in_place ? slots_ * row_size() : 0),
        gradients_(sorted_ && !whole_image_dense(p.grad_output) ? p.motion.height * row_size() : 0),
        elsewhere_(features_ && p.in_place ? p.motion.width * p.grad_features.stride[3] : 0) {}

  // `corner_dots` of the image. The first block of a group overwrites them, the others add to them.
  void run(BilinearRow<S>& samples, S* corner_dots, bool first_block) {
    const int64_t height = p_.motion.height, width = p_.motion.width;
    const SampledRows<T> rows = {
        .samples = sorted_ ? sorted_samples() : samples,
        .pixels = sorted_ ? p_.order.pixels + image_ * height * width : nullptr,
        .source = {source_rows_.data(), dense(p_.features) ? p_.features.stride[3] : padded_},
        .target = {target_rows_.data(), p_.in_place ? p_.grad_features.stride[3] : padded_},
        .band = band_,
        .channels = padded_,
        .features = features_,
        .motion = motion_,
        .first_block = first_block};
    if (sorted_) {
      run_sorted(rows, corner_dots);
    } else {
      for (int64_t y = 0; y < height; ++y) {
        const bool reads_band = ranges_[y].first < window_.end && ranges_[y].last >= band_.begin;
        const bool blends = p_.blend.grad_output.data != nullptr && band_.contains(y);
        if (!reads_band && !blends) continue;
        samples.prepare(image_, y);
        // first, because then the row's gradient is in the cache
        if (blends) blend_row_of_pixels<native_lanes<T>>(p_.blend, image_, y, samples.confidence());
        if (!reads_band) continue;
        open_until(std::min<int64_t>(ranges_[y].last + 1, window_.end), true);
        row_backward(rows, y, motion_ ? corner_dots + y * width * 4 : nullptr);
      }
    }
    open_until(window_.end, false);
    while (closed_ < opened_) close(closed_++);
  }

 private:
  // Whether a block of an image can be used in place.
  bool dense(const Strided<const T, 4>& image) const {
    return channels_ == padded_ && (channels_ == 1 || image.stride[1] == 1);
  }
  bool whole_image_dense(const Strided<const T, 4>& image) const {
    return dense(image) && image.stride[2] == p_.motion.width * image.stride[3];
  }
  int64_t row_size() const { return p_.motion.width * padded_; }
  int64_t resident_rows() const {
    ResidentRows rows;
    rows.plan(ranges_, p_.motion.height, int32_t(window_.begin), int32_t(window_.end));
    return rows.tallest();
  }

  void open_until(int64_t end, bool read) {
    for (; opened_ < end; ++opened_) {
      if (opened_ - closed_ == slots_) close(closed_++);
      open(opened_, read);
    }
  }

  template <class U>
  ImageRow<U> row_of(const Strided<U, 4>& image, int64_t y) const {
    return {image.data + image_ * image.stride[0] + first_channel_ * image.stride[1] + y * image.stride[2],
            image.stride[1], image.stride[3], p_.motion.width, channels_};
  }

  int64_t next_row(const Strided<const T, 4>& image, int64_t y) const {
    return y + 1 < p_.motion.height ? image.stride[2] : 0;
  }

  void open(int64_t y, bool read) {
    if (motion_) {
      const ImageRow<const T> row = row_of(p_.features, y);
      T* slot = source_ring_.data() + y % slots_ * row_size();
      source_rows_[y] = dense(p_.features) ? row.data : slot;
      if (!dense(p_.features) && read) {
        planes_to_pixels<K, T>(row, slot, padded_, next_row(p_.features, y));
      }
    }
    if (features_) {
      S* slot = target_ring_.data() + y % slots_ * row_size();
      int64_t size = row_size(), step = size, count = 1;
      if constexpr (std::is_same_v<T, S>) {
        if (p_.in_place) {
          slot = band_.contains(y) ? row_of(p_.grad_features, y).data : elsewhere_.data();
          size = padded_, step = p_.grad_features.stride[3], count = p_.motion.width;
        }
      }
      target_rows_[y] = slot;
      for (int64_t x = 0; x < count; ++x) std::memset(slot + x * step, 0, size_t(size) * sizeof(S));
    }
  }

  // Finishes a row of the features' gradient.
  void close(int64_t y) {
    if (!features_ || p_.in_place || !band_.contains(y)) return;
    store_sums<K, T>(target_rows_[y], padded_, row_of(p_.grad_features, y), p_.streaming);
  }

  void row_backward(const SampledRows<T>& rows, int64_t y, S* corner_dots) {
    const ImageRow<const T> gradient = row_of(p_.grad_output, y);
    if (dense(p_.grad_output)) {
      return pixels_backward<false, N, T>(rows, 0, p_.motion.width, gradient.data, 0, gradient.column_stride,
                                          corner_dots);
    }
    for_each_piece<piece>(p_.motion.width, [&](int64_t x, int64_t fresh, int64_t end) {
      if (!reads_band(rows.samples, fresh, end)) return;
      planes_to_pixels<K, T>(gradient.part(x, end - x), piece_, padded_, next_row(p_.grad_output, y));
      pixels_backward<false, N, T>(rows, fresh, end, piece_, x, padded_, corner_dots);
    });
  }

  // Source row by source row, with the incoming gradients of all output pixels in memory as pixels.
  void run_sorted(const SampledRows<T>& rows, S* corner_dots) {
    const int64_t height = p_.motion.height;
    const int32_t* starts = p_.order.starts + image_ * (height + 1);
    const bool in_place = whole_image_dense(p_.grad_output);
    const T* gradients = in_place ? row_of(p_.grad_output, 0).data : gradients_.data();
    const int64_t stride = in_place ? p_.grad_output.stride[3] : padded_;
    for (int64_t y = 0; !in_place && y < height; ++y) {
      planes_to_pixels<K, T>(row_of(p_.grad_output, y), gradients_.data() + y * row_size(), padded_,
                             next_row(p_.grad_output, y));
    }
    for (int64_t y = window_.begin; y < band_.end; ++y) {
      open_until(std::min(y + 2, window_.end), true);
      pixels_backward<true, N, T>(rows, starts[y], starts[y + 1], gradients, 0, stride, corner_dots);
    }
  }

  Samples<S> sorted_samples() const {
    const int64_t count = p_.motion.height * p_.motion.width;
    return samples_in(p_.order.indices + image_ * 5 * count, p_.order.weights + image_ * 4 * count, count);
  }

  bool reads_band(const Samples<S>& s, int64_t begin, int64_t end) const {
    for (int64_t x = begin; x < end; ++x) {
      if (s.y_high[x] >= band_.begin && s.y_low[x] < band_.end) return true;
    }
    return false;
  }

  static constexpr int N = Tile::side, piece = 64;

  const ConfidenceWarpBackward<T>& p_;
  const int64_t image_, first_channel_, channels_, padded_;
  const Band band_, window_;
  const RowRange* ranges_;
  int64_t opened_ = window_.begin, closed_ = window_.begin;
  const bool sorted_, features_, motion_;
  const int64_t slots_;
  Scratch<const T*> source_rows_;
  Scratch<S*> target_rows_;
  Scratch<T> source_ring_;
  Scratch<S> target_ring_;
  Scratch<T> gradients_;
  Scratch<S> elsewhere_;  // stands in for rows of other bands
  alignas(64) T piece_[piece * usual_block<T>];
};

template <int K, class T>
void warp_bands_backward(const ConfidenceWarpBackward<T>& p, int64_t begin, int64_t end) {
  BilinearRow<opmath<T>> samples(p.motion);
  const int64_t blocks = (p.channels + p.block - 1) / p.block;
  for (int64_t task = begin; task < end; ++task) {
    const Band band = band_of(task % p.bands, p.motion.height, p.bands);
    const int64_t group = task / p.bands % p.groups, image = task / p.bands / p.groups;
    const Band members = band_of(group, blocks, p.groups);
    const int64_t pixels = p.motion.height * p.motion.width;
    opmath<T>* corner_dots =
        p.corner_dots == nullptr ? nullptr : p.corner_dots + (group * p.batch + image) * pixels * 4;
    // Blocks in order: each adds its part to the dot products.
    for (int64_t block = members.begin; block < members.end; ++block) {
      BandBackward<K, T>(p, image, block * p.block, band).run(samples, corner_dots, block == members.begin);
    }
  }
  finish_streaming();
}

}  // namespace

template <class T>
void warp_backward(const ConfidenceWarpBackward<T>& p, int64_t begin, int64_t end) {
  FlushDenormals flush;
  if (p.block <= smallest_block<T> || (p.in_place && p.channels < 16)) {
    warp_bands_backward<4>(p, begin, end);
  } else {
    warp_bands_backward<16>(p, begin, end);
  }
}

INTERNET_INSTANTIATE_KERNEL(warp_backward, ConfidenceWarpBackward)

}  // namespace internet::cpu::INTERNET_ISA
