// The extrinsic confidence mask, a chunk of a row at a time: first the end points of the forward flow, in
// vectors; then the backward flow there, pixel by pixel; then the tests, in vectors again.
#include <algorithm>

#include "cpu/flow_confidence/kernels.h"
#include "cpu/simd/few_channels.h"
#include "cpu/simd/row_end.h"
#include "math/bilinear.h"
#include "math/flow_confidence.h"

namespace internet::cpu::INTERNET_ISA {
namespace {

template <class T>
using Native = Vec<opmath<T>, native_lanes<T>>;

// A row of a flow. Past its end it continues with its last pixel.
template <class T>
struct FlowRow {
  static constexpr int N = native_lanes<T>;
  using V = Native<T>;
  const T* data;
  int64_t channel_stride, column_stride, width;

  INTERNET_MEMBER FlowRow(const Strided<const T, 4>& flow, int64_t image, int64_t y, int64_t width)
      : data(flow.data + image * flow.stride[0] + y * flow.stride[2]),
        channel_stride(flow.stride[1]),
        column_stride(flow.stride[3]),
        width(width) {}

  INTERNET_MEMBER math::FlowVector<V> at(int64_t x) const {
    const int count = int(std::clamp<int64_t>(width - x, 0, N));
    if (column_stride == 1) {
      const T *across = data + x, *down = across + channel_stride;
      if (count == N) return {load<N>(across), load<N>(down)};
      const T* last = data + width - 1;
      return {load_first<N>(across, count, widen(last[0])),
              load_first<N>(down, count, widen(last[channel_stride]))};
    }
    if (column_stride == 2 && channel_stride == 1 && count == N) {
      math::FlowVector<V> w;
      deinterleave(load<N>(data + 2 * x), load<N>(data + 2 * x + N), w.x, w.y);
      return w;
    }
    return gather(x);
  }

 private:
  INTERNET_MEMBER math::FlowVector<V> gather(int64_t x) const {
    opmath<T> across[N], down[N];
    for (int i = 0; i < N; ++i) {
      const T* pixel = data + std::min(x + i, width - 1) * column_stride;
      across[i] = widen(pixel[0]);
      down[i] = widen(pixel[channel_stride]);
    }
    return {load<N>(across), load<N>(down)};
  }
};

template <class T>
class Rows {
  using S = opmath<T>;
  static constexpr int N = native_lanes<T>;
  using V = Native<T>;
  using Index = typename math::Value<V>::Integer;

 public:
  INTERNET_MEMBER explicit Rows(const FlowConfidence<T>& params) : p(params) {}

  INTERNET_MEMBER void row(int64_t b, int64_t y) {
    const int64_t height = p.shape.height, width = p.shape.width;
    const FlowRow<T> here(p.flow_forward, b, y, width);
    const FlowRow<T> below(p.flow_forward, b, std::min(y + 1, height - 1), width);
    for (int64_t x = 0; x < width; x += columns) {
      const int64_t count = std::min<int64_t>(columns, width - x);
      aim(here, x, y, count);
      look(p.flow_backward + b * p.shape.size(), count);
      judge(here, below, x, y, count, p.mask + (b * height + y) * width + x);
    }
  }

 private:
  static constexpr int columns = 256;

  INTERNET_MEMBER static math::FlowVector<V> destination(const math::FlowVector<V>& w, int64_t x, int64_t y) {
    return {iota<V>() + S(x) + w.x, w.y + S(y)};
  }

  INTERNET_MEMBER void aim(const FlowRow<T>& here, int64_t x, int64_t y, int64_t count) {
    for (int64_t i = 0; i < count; i += N) {
      const auto to = destination(here.at(x + i), x + i, y);
      const auto across = math::position(to.x, S(p.shape.width), true);
      const auto down = math::position(to.y, S(p.shape.height), true);
      const Index pixel = __builtin_convertvector(down.base, Index) * ScalarIndex(p.shape.pitch()) +
                          __builtin_convertvector(across.base, Index);
      std::memcpy(pixel_ + i, &pixel, sizeof(pixel));
      store<N>(across_ + i, across.fraction);
      store<N>(down_ + i, down.fraction);
    }
  }

  // Samples the backward flow there. Where that is out of the frame, the result is unspecified.
  INTERNET_MEMBER void look(const S* pixels, int64_t count) {
    for (int64_t i = 0; i < count; i += 4) {
      Pixel<S> v[4];  // for each of four samples: x and y of the left pixel, x and y of the right one
#pragma GCC unroll 4
      for (int j = 0; j < 4; ++j) {
        const S* top = pixels + 2 * int64_t(pixel_[i + j]);
        const S* bottom = top + 2 * p.shape.pitch();
        v[j] = math::interpolate_down(load<4>(top), load<4>(bottom), down_[i + j]).level;
      }
      transpose(v);
      const Pixel<S> fraction = load<4>(across_ + i);
      store<4>(back_x_ + i, interpolate(v[0], v[2], fraction));
      store<4>(back_y_ + i, interpolate(v[1], v[3], fraction));
    }
  }
  INTERNET_MEMBER static Pixel<S> interpolate(Pixel<S> left, Pixel<S> right, Pixel<S> fraction) {
    const Pixel<S> unused{};
    return math::interpolate_across<Pixel<S>>({left, unused}, {right, unused}, fraction).value;
  }

  INTERNET_MEMBER void judge(const FlowRow<T>& here, const FlowRow<T>& below, int64_t x, int64_t y,
                             int64_t count, T* mask) const {
    for (int64_t i = 0; i < count; i += N) {
      const auto w = here.at(x + i);
      const auto to = destination(w, x + i, y);
      auto reliable = math::inside_frame(to.x, S(p.shape.width), true) &
                      math::inside_frame(to.y, S(p.shape.height), true);
      reliable &= math::flows_cancel<V>(w, {load<N>(back_x_ + i), load<N>(back_y_ + i)}, p.bounds);
      if (p.with_boundary) {
        reliable &= math::flow_is_smooth(w, here.at(x + i + 1), below.at(x + i), p.bounds);
      }
      const V result = math::select(reliable, math::splat<V>(1), math::splat<V>(0));
      if (i + N <= count) {
        store<N>(mask + i, result);
      } else {
        for (int l = 0; i + l < count; ++l) mask[i + l] = narrow<T>(result[l]);
      }
    }
  }

  using ScalarIndex = typename math::Value<S>::Integer;
  const FlowConfidence<T>& p;
  // The pixel to the upper left of the flow's end point: its index, and how far beyond it the end point lies.
  alignas(64) ScalarIndex pixel_[columns];
  alignas(64) S across_[columns], down_[columns];
  alignas(64) S back_x_[columns], back_y_[columns];
};

}  // namespace

template <class T>
void flow_to_pixels(const FlowToPixels<T>& p, int64_t begin, int64_t end) {
  constexpr int N = native_lanes<T>;
  for (int64_t task = begin; task < end; ++task) {
    const int64_t image = task / p.shape.rows(), y = task % p.shape.rows();
    const FlowRow<T> row(p.flow, image, std::min(y, p.shape.height - 1), p.shape.width);
    opmath<T>* pixels = p.pixels + 2 * task * p.shape.pitch();
    for (int64_t x = 0; x < p.shape.pitch(); x += N) {
      const auto w = row.at(x);
      Native<T> low, high;
      interleave(w.x, w.y, low, high);
      store<N>(pixels + 2 * x, low);
      store<N>(pixels + 2 * x + N, high);
    }
  }
}

template <class T>
void flow_confidence(const FlowConfidence<T>& p, int64_t begin, int64_t end) {
  Rows<T> rows(p);
  for (int64_t task = begin; task < end; ++task) rows.row(task / p.shape.height, task % p.shape.height);
}

INTERNET_INSTANTIATE_KERNEL(flow_to_pixels, FlowToPixels)
INTERNET_INSTANTIATE_KERNEL(flow_confidence, FlowConfidence)

}  // namespace internet::cpu::INTERNET_ISA
