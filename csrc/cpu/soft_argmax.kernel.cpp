// A group of rows fits in the first-level cache, so its largest logit and its sums are two passes over
// memory's one. Lanes sum a stretch of a row, then the stretches of a group, then they go to double: no sum
// has so many terms that float would lose digits.
#include "soft_argmax.h"

#include <algorithm>
#include <limits>

#include "../math/bilinear.h"
#include "denormals.h"
#include "pixel_rows.h"
#include "working_memory.h"

namespace internet::cpu::INTERNET_ISA {
namespace {

template <class S>
constexpr int lanes = native_lanes<S>;
template <class S>
using Native = Vec<S, lanes<S>>;

// A stretch of a row, by lane.
constexpr int64_t pixels_per_lane = 64;

template <class S>
INTERNET_HD Native<S> load_some(const S* p, int64_t count, S filler) {
  if (count >= lanes<S>) return load<lanes<S>>(p);
  S values[lanes<S>];
  for (int i = 0; i < lanes<S>; ++i) values[i] = i < count ? p[i] : filler;
  return load<lanes<S>>(values);
}
template <class S>
INTERNET_HD void store_some(S* p, int64_t count, Native<S> v) {
  if (count >= lanes<S>) return store<lanes<S>>(p, v);
  for (int i = 0; i < count; ++i) p[i] = v[i];
}

// Up to four lines of neighbouring channels as plain arrays of S, for each of several rows: where they lie in
// memory if that is what they are, or copied and widened.
template <class T>
class Lines {
 public:
  using S = opmath<T>;

  INTERNET_MEMBER Lines(int64_t rows, int64_t width)
      : pitch_((width + 3) / 4 * 4), copies_(rows * 4 * pitch_) {}

  INTERNET_MEMBER void read(const ImageRow<const T>& row, int64_t slot = 0) {
    if (!in_place(row)) read_planes(row, 0, row.width, copies_.data() + slot * 4 * pitch_, pitch_);
    point_at(row, slot);
  }
  // What was read into a slot before.
  INTERNET_MEMBER void point_at(const ImageRow<const T>& row, int64_t slot) {
    for (int c = 0; c < row.channels; ++c) {
      line_[c] = copies_.data() + (slot * 4 + c) * pitch_;
      if constexpr (std::is_same_v<T, S>) {
        if (in_place(row)) line_[c] = row.data + c * row.channel_stride;
      }
    }
  }
  INTERNET_MEMBER const S* const* get() const { return line_; }

 private:
  INTERNET_MEMBER static bool in_place(const ImageRow<const T>& row) {
    return std::is_same_v<T, S> && row.column_stride == 1;
  }

  int64_t pitch_;
  WorkingMemory<S> copies_;
  const S* line_[4] = {};
};

// The way back: lines to fill, and then to put where they belong.
template <class T>
class OutLines {
 public:
  using S = opmath<T>;

  INTERNET_MEMBER explicit OutLines(int64_t width) : pitch_((width + 3) / 4 * 4), copies_(4 * pitch_) {}

  INTERNET_MEMBER void begin(const ImageRow<T>& row) {
    row_ = row;
    in_place_ = std::is_same_v<T, S> && row.column_stride == 1;
    for (int c = 0; c < row.channels; ++c) {
      line_[c] = copies_.data() + c * pitch_;
      if constexpr (std::is_same_v<T, S>) {
        if (in_place_) line_[c] = row.data + c * row.channel_stride;
      }
    }
  }
  INTERNET_MEMBER void end() {
    if (!in_place_) write_planes(row_, 0, row_.width, copies_.data(), pitch_);
  }
  INTERNET_MEMBER S* const* get() const { return line_; }

 private:
  int64_t pitch_;
  WorkingMemory<S> copies_;
  ImageRow<T> row_{};
  S* line_[4] = {};
  bool in_place_ = false;
};

template <class T>
INTERNET_HD int quad_size(const HeatMaps<T>& in, int64_t anchor) {
  return int(std::min<int64_t>(anchors_per_task, in.anchors - anchor));
}
template <class U, class T>
INTERNET_HD ImageRow<U> logit_row(const Strided<U, 4>& logits, const HeatMaps<T>& in, int64_t image,
                                  int64_t anchor, int64_t y) {
  const auto& s = logits.stride;
  return {logits.data + image * s[0] + anchor * s[1] + y * s[2], s[1], s[3], in.width, quad_size(in, anchor)};
}
template <class U>
INTERNET_HD ImageRow<U> map_row(const Strided<U, 5>& map, int64_t width, int64_t image, int64_t anchor,
                                int64_t y) {
  const auto& s = map.stride;
  return {map.data + image * s[0] + anchor * s[1] + y * s[3], s[2], s[4], width, 4};
}

// Coordinates of the pixels of one plane.
template <class S>
struct Grid {
  S x_start, x_step, y_start, y_step;

  INTERNET_MEMBER Grid(int64_t height, int64_t width, bool align_corners)
      : x_start(math::normalized_start(S(width), align_corners)),
        x_step(math::normalized_step(S(width), align_corners)),
        y_start(math::normalized_start(S(height), align_corners)),
        y_step(math::normalized_step(S(height), align_corners)) {}
  INTERNET_MEMBER Native<S> x(int64_t column) const {
    return (iota<Native<S>>() + S(column)) * x_step + x_start;
  }
  INTERNET_MEMBER S y(int64_t row) const { return y_step * S(row) + y_start; }
};

template <class S>
INTERNET_HD void find_largest(const S* line, int64_t count, Native<S>& largest) {
  for (int64_t x = 0; x < count; x += lanes<S>) {
    largest = math::larger(load_some(line + x, count - x, -std::numeric_limits<S>::infinity()), largest);
  }
}
template <class S>
INTERNET_HD S largest_lane(Native<S> v) {
  S largest = v[0];
  for (int i = 1; i < lanes<S>; ++i) largest = v[i] > largest ? S(v[i]) : largest;
  return largest;
}

// Adds one row of one anchor. Along it y is constant: e y is summed a stretch at a time.
template <bool with_map, class S>
INTERNET_HD void add_row(const S* logits, const S* const* map, int64_t width, const Grid<S>& grid, S y,
                         S reference, S per_temperature, math::HeatSums<Native<S>>& sums) {
  using V = Native<S>;
  constexpr int n = lanes<S>;
  for (int64_t begin = 0; begin < width; begin += n * pixels_per_lane) {
    const int64_t end = std::min<int64_t>(begin + n * pixels_per_lane, width);
    V mass{}, moment{}, jac[4] = {};
    for (int64_t x = begin; x < end; x += n) {
      const V logit = load_some(logits + x, end - x, -std::numeric_limits<S>::infinity());
      const V e = math::heat_weight(logit, reference, per_temperature);
      mass += e;
      moment += e * grid.x(x);
      if constexpr (with_map) {
        for (int c = 0; c < 4; ++c) jac[c] += e * load_some(map[c] + x, end - x, S(0));
      }
    }
    sums.mass += mass;
    sums.x += moment;
    sums.y += mass * y;
    if constexpr (with_map) {
      for (int c = 0; c < 4; ++c) sums.jac[c] += jac[c];
    }
  }
}

template <class V>
INTERNET_HD math::HeatSums<double> total(const math::HeatSums<V>& sums) {
  const auto sum = [](V v) { return double(sum_of_lanes<math::Value<V>::lanes>(v)); };
  return {sum(sums.mass),
          sum(sums.x),
          sum(sums.y),
          {sum(sums.jac[0]), sum(sums.jac[1]), sum(sums.jac[2]), sum(sums.jac[3])}};
}

// The rows of a task's group.
template <class T>
struct Group {
  int64_t image, index, first, end;

  INTERNET_MEMBER Group(const HeatMaps<T>& in, int64_t task)
      : image(task / in.groups),
        index(task % in.groups),
        first(index * in.rows_per_group),
        end(std::min(first + in.rows_per_group, in.height)) {}
};

template <bool with_map, class T>
class ForwardGroups {
 public:
  using S = opmath<T>;

  INTERNET_MEMBER explicit ForwardGroups(const SoftArgmaxForward<T>& p)
      : p_(p),
        in_(p.in),
        grid_(in_.height, in_.width, in_.align_corners),
        logits_(in_.rows_per_group, in_.width),
        map_(1, in_.width) {}

  // The anchors of a group follow each other: a shared map stays in the cache.
  INTERNET_MEMBER void task(int64_t task) {
    const int64_t quads = (in_.anchors + anchors_per_task - 1) / anchors_per_task;
    const Group<T> group(in_, task / quads);
    const int64_t anchor = task % quads * anchors_per_task;
    const int count = quad_size(in_, anchor);
    Native<S> largest[anchors_per_task];
    for (auto& l : largest) l = math::splat<Native<S>>(-std::numeric_limits<S>::infinity());
    for (int64_t y = group.first; y < group.end; ++y) {
      logits_.read(logit_row(in_.logits, in_, group.image, anchor, y), y - group.first);
      for (int i = 0; i < count; ++i) find_largest(logits_.get()[i], in_.width, largest[i]);
    }
    S highest[anchors_per_task];
    for (int i = 0; i < count; ++i) highest[i] = largest_lane<S>(largest[i]);
    math::HeatSums<Native<S>> sums[anchors_per_task] = {};
    for (int64_t y = group.first; y < group.end; ++y) {
      logits_.point_at(logit_row(in_.logits, in_, group.image, anchor, y), y - group.first);
      for (int i = 0; i < count; ++i) {
        if (with_map && (i == 0 || !in_.shared_map)) {
          map_.read(map_row(in_.map, in_.width, group.image, anchor + i, y));
        }
        add_row<with_map>(logits_.get()[i], map_.get(), in_.width, grid_, grid_.y(y),
                          math::heat_reference(highest[i]), in_.per_temperature, sums[i]);
      }
    }
    for (int i = 0; i < count; ++i) {
      const int64_t plane = group.image * in_.anchors + anchor + i;
      p_.partials[plane * in_.groups + group.index] = {double(highest[i]), total(sums[i])};
    }
  }

 private:
  const SoftArgmaxForward<T>& p_;
  const HeatMaps<T>& in_;
  Grid<S> grid_;
  Lines<T> logits_, map_;
};

// The gradients of one row of one anchor; that of a shared map is added to what the anchors before sent.
template <bool with_map, class S>
INTERNET_HD void row_gradients(const S* logits, const S* const* map, int64_t width, const Grid<S>& grid, S y,
                               const math::HeatGradient<S>& g, S per_temperature, S* grad_logits,
                               S* const* grad_map, bool add_to_map) {
  using V = Native<S>;
  constexpr int n = lanes<S>;
  for (int64_t x = 0; x < width; x += n) {
    const int64_t count = width - x;
    V m[4];
    if constexpr (with_map) {
      for (int c = 0; c < 4; ++c) m[c] = load_some(map[c] + x, count, S(0));
    }
    const V logit = load_some(logits + x, count, -std::numeric_limits<S>::infinity());
    const V heat = math::heat_weight(logit, g.reference, per_temperature) * g.per_mass;
    store_some(grad_logits + x, count,
               math::heat_logit_gradient<with_map, V>(g, heat, grid.x(x), y, m, per_temperature));
    if constexpr (with_map) {
      for (int c = 0; c < 4; ++c) {
        V by_map = heat * g.grad_jac[c];
        if (add_to_map) by_map += load_some(grad_map[c] + x, count, S(0));
        store_some(grad_map[c] + x, count, by_map);
      }
    }
  }
}

template <bool with_map, class T>
class BackwardGroups {
 public:
  using S = opmath<T>;

  INTERNET_MEMBER explicit BackwardGroups(const SoftArgmaxBackward<T>& p)
      : p_(p),
        in_(p.in),
        grid_(in_.height, in_.width, in_.align_corners),
        logits_(1, in_.width),
        map_(1, in_.width),
        grad_logits_(in_.width),
        grad_map_(in_.width) {}

  INTERNET_MEMBER void task(int64_t task) {
    const Group<T> group(in_, task);
    for (int64_t y = group.first; y < group.end; ++y) {
      for (int64_t anchor = 0; anchor < in_.anchors; anchor += anchors_per_task) quad(group.image, anchor, y);
    }
  }

 private:
  INTERNET_MEMBER void quad(int64_t image, int64_t anchor, int64_t y) {
    logits_.read(logit_row(in_.logits, in_, image, anchor, y));
    grad_logits_.begin(logit_row(p_.grad_logits, in_, image, anchor, y));
    for (int i = 0; i < quad_size(in_, anchor); ++i) {
      const int64_t k = anchor + i;
      if (with_map && (k == 0 || !in_.shared_map)) {
        map_.read(map_row(in_.map, in_.width, image, k, y));
        grad_map_.begin(map_row(p_.grad_map, in_.width, image, k, y));
      }
      row_gradients<with_map>(logits_.get()[i], map_.get(), in_.width, grid_, grid_.y(y),
                              p_.gradients[image * in_.anchors + k], in_.per_temperature,
                              grad_logits_.get()[i], grad_map_.get(), in_.shared_map && k > 0);
      if (with_map && (k + 1 == in_.anchors || !in_.shared_map)) grad_map_.end();
    }
    grad_logits_.end();
  }

  const SoftArgmaxBackward<T>& p_;
  const HeatMaps<T>& in_;
  Grid<S> grid_;
  Lines<T> logits_, map_;
  OutLines<T> grad_logits_, grad_map_;
};

}  // namespace

template <class T>
void soft_argmax_forward(const SoftArgmaxForward<T>& p, int64_t begin, int64_t end) {
  FlushDenormals flush;
  auto run = [&](auto groups) {
    for (int64_t task = begin; task < end; ++task) groups.task(task);
  };
  if (p.in.map.data != nullptr) {
    run(ForwardGroups<true, T>(p));
  } else {
    run(ForwardGroups<false, T>(p));
  }
}

template <class T>
void soft_argmax_backward(const SoftArgmaxBackward<T>& p, int64_t begin, int64_t end) {
  FlushDenormals flush;
  auto run = [&](auto groups) {
    for (int64_t task = begin; task < end; ++task) groups.task(task);
  };
  if (p.in.map.data != nullptr) {
    run(BackwardGroups<true, T>(p));
  } else {
    run(BackwardGroups<false, T>(p));
  }
}

INTERNET_INSTANTIATE_KERNEL(soft_argmax_forward, SoftArgmaxForward)
INTERNET_INSTANTIATE_KERNEL(soft_argmax_backward, SoftArgmaxBackward)

}  // namespace internet::cpu::INTERNET_ISA
