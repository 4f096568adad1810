// The extrinsic confidence mask, a chunk of a row at a time: both flows into lines of numbers, then the
// tests on vectors of pixels.
#include "flow_confidence.h"

#include <algorithm>

#include "../math/flow_confidence.h"
#include "../math/masked_backwarp_loss.h"

namespace internet::cpu::INTERNET_ISA {
namespace {

constexpr int columns = 128;

// One flow vector for each column of a chunk, and for the column after the last.
template <class S>
struct alignas(64) Line {
  S x[columns + 16], y[columns + 16];

  template <int N>
  math::FlowVector<Vec<S, N>> at(int64_t i) const {
    return {load<N>(x + i), load<N>(y + i)};
  }
};

template <class T>
class Rows {
  using S = opmath<T>;
  static constexpr int N = native_lanes<T>;
  using V = Vec<S, N>;

 public:
  explicit Rows(const FlowConfidence<T>& params) : p(params) {}

  void row(int64_t b, int64_t y) {
    const int64_t below = std::min(y + 1, p.height - 1);  // no difference past the border
    for (int64_t x0 = 0; x0 < p.width; x0 += columns) {
      const int64_t count = std::min<int64_t>(columns, p.width - x0);
      read(b, y, x0, count, here_);
      if (p.with_boundary) read(b, below, x0, count, below_);
      sample(b, y, x0, count);
      judge(count, p.mask + (b * p.height + y) * p.width + x0);
    }
  }

 private:
  void read(int64_t b, int64_t y, int64_t x0, int64_t count, Line<S>& line) const {
    const auto& flow = p.flow_forward;
    const T* u = flow.data + b * flow.stride[0] + y * flow.stride[2] + x0 * flow.stride[3];
    const T* v = u + flow.stride[1];
    for (int64_t i = 0; i < count; ++i) {
      line.x[i] = widen(u[i * flow.stride[3]]);
      line.y[i] = widen(v[i * flow.stride[3]]);
    }
    const int64_t right = x0 + count < p.width ? count : count - 1;
    line.x[count] = widen(u[right * flow.stride[3]]);
    line.y[count] = widen(v[right * flow.stride[3]]);
  }

  // The backward flow where the forward flow leads; whether that is in the frame. Out of it, anything.
  void sample(int64_t b, int64_t y, int64_t x0, int64_t count) {
    const S width = S(p.width), height = S(p.height);
    const auto& flow = p.flow_backward;
    const T* u = flow.data + b * flow.stride[0];
    const T* v = u + flow.stride[1];
    for (int64_t i = 0; i < count; ++i) {
      const S x = S(x0 + i) + here_.x[i], t = S(y) + here_.y[i];
      inside_[i] = S(math::inside_frame(x, width, true) & math::inside_frame(t, height, true));
      const auto px = math::position(x, width, true), py = math::position(t, height, true);
      const int64_t left = int64_t(px.base), top = int64_t(py.base);
      const int64_t right = std::min(left + 1, p.width - 1), bottom = std::min(top + 1, p.height - 1);
      const int64_t l = left * flow.stride[3], r = right * flow.stride[3];
      const int64_t a = top * flow.stride[2], z = bottom * flow.stride[2];
      returned_.x[i] = blend(u[a + l], u[a + r], u[z + l], u[z + r], px.fraction, py.fraction);
      returned_.y[i] = blend(v[a + l], v[a + r], v[z + l], v[z + r], px.fraction, py.fraction);
    }
  }
  static S blend(T top_left, T top_right, T bottom_left, T bottom_right, S fraction_x, S fraction_y) {
    const auto left = math::interpolate_down(widen(top_left), widen(bottom_left), fraction_y);
    const auto right = math::interpolate_down(widen(top_right), widen(bottom_right), fraction_y);
    return math::interpolate_across(left, right, fraction_x).value;
  }

  void judge(int64_t count, T* mask) {
    for (int64_t i = 0; i < count; i += N) {
      const auto w = here_.template at<N>(i);
      auto reliable = load<N>(inside_ + i) != math::splat<V>(0);
      reliable &=
          math::flows_cancel(w, returned_.template at<N>(i), p.consistency_scale, p.consistency_offset);
      if (p.with_boundary) {
        reliable &= math::flow_is_smooth(w, here_.template at<N>(i + 1), below_.template at<N>(i),
                                         p.boundary_scale, p.boundary_offset);
      }
      store<N>(result_ + i, math::select(reliable, math::splat<V>(1), math::splat<V>(0)));
    }
    for (int64_t i = 0; i < count; ++i) mask[i] = narrow<T>(result_[i]);
  }

  const FlowConfidence<T>& p;
  Line<S> here_ = {}, below_ = {}, returned_ = {};
  alignas(64) S inside_[columns] = {}, result_[columns] = {};
};

}  // namespace

template <class T>
void flow_confidence(const FlowConfidence<T>& p, int64_t begin, int64_t end) {
  Rows<T> rows(p);
  for (int64_t task = begin; task < end; ++task) rows.row(task / p.height, task % p.height);
}

INTERNET_INSTANTIATE_KERNEL(flow_confidence, FlowConfidence)

}  // namespace internet::cpu::INTERNET_ISA
