// A part, some rows of one output, walks every anchor over every row: it reads the incoming gradient once,
// for the gradients of the source (scattered to the four pixels of each sample), of the motion and of the
// heat map.
#include <cmath>

#include "cpu/anchor_features/rows.h"
#include "cpu/runtime/denormals.h"

namespace internet::cpu::INTERNET_ISA {
namespace {

using namespace anchor_rows;

// The sum of the components of each of four vectors.
template <class S>
INTERNET_HD Pixel<S> component_sums(Pixel<S> (&v)[4]) {
  transpose(v);
  return (v[0] + v[1]) + (v[2] + v[3]);
}

// Sums over a row of the gradient with respect to the sample's position and, times the column, to the
// motion's slope.
template <class V>
struct MotionSums {
  V x, xx, y, yx;
};
// Sums of the gradient with respect to the heat map times a Gaussian's factor along the row, and of that
// times x - p_x.
template <class V>
struct HeatSums {
  V mass, moment;
};

template <bool to_source, bool to_anchors, class T>
class BackwardPart {
 public:
  using S = opmath<T>;
  using V = Native<S>;

  INTERNET_MEMBER explicit BackwardPart(const AnchorFeaturesBackward<T>& p)
      : p_(p),
        shape_(p.shape),
        x_start_(math::normalized_start(S(shape_.width), shape_.grid_align_corners)),
        x_step_(math::normalized_step(S(shape_.width), shape_.grid_align_corners)),
        y_start_(math::normalized_start(double(shape_.height), shape_.grid_align_corners)),
        y_step_(math::normalized_step(double(shape_.height), shape_.grid_align_corners)) {}

  INTERNET_MEMBER void part(int64_t task) {
    task_ = task;
    image_ = task / p_.parts;
    const int64_t part = task % p_.parts;
    const int64_t begin = part * shape_.height / p_.parts, end = (part + 1) * shape_.height / p_.parts;
    if (to_anchors) {
      std::fill(p_.partials + task * shape_.anchors, p_.partials + (task + 1) * shape_.anchors,
                AnchorPartial{});
    }
    for (int64_t y = begin; y < end; ++y) {
      for (int64_t k = 0; k <= shape_.anchors; ++k) row(k, y);
    }
  }

 private:
  INTERNET_MEMBER void row(int64_t k, int64_t y) {
    const auto motion = row_motion<S>(p_.motion[image_ * (shape_.anchors + 1) + k], y);
    if (to_source) touch(motion);
    for (int64_t first = 0; first < shape_.width; first += stretch) {
      const int64_t count = std::min<int64_t>(stretch, shape_.width - first);
      places_.find(motion, first, count, shape_.framed);
      std::fill(grad_x_, grad_x_ + stretch, S(0));
      std::fill(grad_y_, grad_y_ + stretch, S(0));
      for (int64_t block = 0; block < shape_.framed.blocks; ++block) {
        const auto grad = feature_row(p_.grad_output, shape_, image_, k, block, y);
        with_layout(grad, [&](auto layout) { visit<layout()>(grad, block, first, count); });
      }
      if (to_anchors && k > 0) add_sums(k - 1, y, first, count);
    }
  }

  // Makes sure that the rows about to be added to hold numbers. The position changes along the row in one
  // direction only, so its ends bound it; a row more on either side allows for rounding.
  INTERNET_MEMBER void touch(const math::RowMotion<S, 2>& motion) {
    const FramedShape& framed = shape_.framed;
    const S a = motion.offset[1], b = motion.slope[1] * S(shape_.width - 1) + motion.offset[1];
    const S last_row = S(shape_.height);
    const auto bounded = [=](S t) { return int64_t(math::at_most(math::at_least(t, S(-1)), last_row)); };
    const int64_t first = std::max<int64_t>(bounded(std::min(a, b)) - 2, 0);
    const int64_t last = std::min<int64_t>(bounded(std::max(a, b)) + 2, shape_.height - 1);
    uint8_t* touched = p_.touched + task_ * framed.rows() + 1;
    for (int64_t y = first; y <= last; ++y) {
      if (touched[y]) continue;
      touched[y] = 1;
      for (int64_t block = 0; block < framed.blocks; ++block) {
        S* row = p_.scattered + task_ * framed.size() + framed.row(block, y);
        std::fill(row, row + 4 * framed.pitch(), S(0));
      }
    }
  }

  // The incoming gradients of four pixels; nothing comes from past the row's end or from a missing channel.
  template <Layout L>
  INTERNET_MEMBER void read(const ImageRow<const T>& grad, int64_t x, int64_t count, Pixel<S> (&v)[4]) {
    load_group<L, false>(grad, x, count, v);
    if (grad.channels < 4) {
      const auto channel = Vec<Index<S>, 4>{0, 1, 2, 3};
      for (int j = 0; j < 4; ++j) v[j] = channel < Index<S>(grad.channels) ? v[j] : Pixel<S>{};
    }
    for (int64_t j = count; j < 4; ++j) v[j] = Pixel<S>{};
  }

  template <Layout L>
  INTERNET_MEMBER void visit(const ImageRow<const T>& grad, int64_t block, int64_t first, int64_t count) {
    const int64_t pitch = shape_.framed.pitch();
    const S* pixels = p_.framed + image_ * shape_.framed.size() + block * shape_.framed.block_size();
    S* scattered = nullptr;
    if (to_source)
      scattered = p_.scattered + task_ * shape_.framed.size() + block * shape_.framed.block_size();
    for (int64_t i = 0; i < count; i += 4) {
      Pixel<S> g[4], grad_x[4], grad_y[4];
      read<L>(grad, first + i, count - i, g);
      if constexpr (to_anchors) {
        if (block == 0) store<4>(grad_heat_ + i, Pixel<S>{g[0][0], g[1][0], g[2][0], g[3][0]});
#pragma GCC unroll 4
        for (int j = 0; j < 4; ++j) {
          const auto slopes = math::blend_slopes(corners(pixels, places_.pixel[i + j], pitch),
                                                 places_.x_axis(i + j), places_.y_axis(i + j));
          grad_x[j] = g[j] * slopes.x;
          grad_y[j] = g[j] * slopes.y;
        }
        store<4>(grad_x_ + i, load<4>(grad_x_ + i) + component_sums<S>(grad_x));
        store<4>(grad_y_ + i, load<4>(grad_y_ + i) + component_sums<S>(grad_y));
      }
      if constexpr (to_source) {
#pragma GCC unroll 4
        for (int j = 0; j < 4; ++j) scatter(scattered + 4 * places_.pixel[i + j], pitch, i + j, g[j]);
      }
    }
  }

  INTERNET_MEMBER void scatter(S* p, int64_t pitch, int64_t i, Pixel<S> g) {
    const auto add = [](S* at, Pixel<S> v) { store<4>(at, load<4>(at) + v); };
    const Pixel<S> north = g * places_.north[i], south = g * places_.south[i];
    add(p, north * places_.west[i]);
    add(p + 4, north * places_.east[i]);
    add(p + 4 * pitch, south * places_.west[i]);
    add(p + 4 * pitch + 4, south * places_.east[i]);
  }

  // Adds a stretch of row y to the gradients of the anchor's motion and of its two Gaussians.
  INTERNET_MEMBER void add_sums(int64_t anchor, int64_t y, int64_t first, int64_t count) {
    const int64_t index = image_ * shape_.anchors + anchor;
    const Factors<S> f(p_.factors, index, shape_.height, shape_.width);
    const math::KeyPoints<double, 2>& points = p_.key_points[index];
    const S driving_x = S(points.driving[0]), source_x = S(points.source[0]);
    MotionSums<V> m{};
    HeatSums<V> driving{}, source{};
    for (int64_t i = 0; i < count; i += lanes<S>) {
      const V column = iota<V>() + S(first + i);
      // A sample that reads nothing has no gradient, not even that of a NaN times the frame's zeros.
      const auto read = places_.read(i);
      const V gx = math::select(read, load<lanes<S>>(grad_x_ + i), V{});
      const V gy = math::select(read, load<lanes<S>>(grad_y_ + i), V{});
      m.x += gx;
      m.xx += gx * column;
      m.y += gy;
      m.yx += gy * column;
      const V x = column * x_step_ + x_start_;
      const V heat = load_some(grad_heat_ + i, count - i);
      add_heat(heat * load_some(f.driving_columns + first + i, count - i), x - driving_x, driving);
      add_heat(heat * load_some(f.source_columns + first + i, count - i), x - source_x, source);
    }
    AnchorPartial& sum = p_.partials[task_ * shape_.anchors + anchor];
    const double x = total(m.x), yy = total(m.y);
    sum.motion.add(
        math::Affine<double, 2>{{{total(m.xx), x * double(y)}, {total(m.yx), yy * double(y)}}, {x, yy}});
    const double z = y_start_ + y_step_ * double(y);
    add_key_point(driving, double(f.driving_rows[y]), z - points.driving[1], sum.heat.driving);
    add_key_point(source, -double(f.source_rows[y]), z - points.source[1], sum.heat.source);
  }

  INTERNET_MEMBER static double total(V v) { return double(sum_of_lanes<lanes<S>>(v)); }
  INTERNET_MEMBER static V load_some(const S* p, int64_t count) {
    if (count >= lanes<S>) return load<lanes<S>>(p);
    V v{};
    for (int l = 0; l < count; ++l) v[l] = p[l];
    return v;
  }
  INTERNET_MEMBER static void add_heat(V weighted, V distance, HeatSums<V>& sums) {
    sums.mass += weighted;
    sums.moment += weighted * distance;
  }
  // A Gaussian's derivative with respect to its key point is itself times (z - p)/variance.
  INTERNET_MEMBER void add_key_point(const HeatSums<V>& sums, double row_factor, double y_distance,
                                     double* out) {
    const double scale = row_factor * p_.per_variance;
    out[0] += total(sums.moment) * scale;
    out[1] += total(sums.mass) * scale * y_distance;
  }

  const AnchorFeaturesBackward<T>& p_;
  const AnchorFeaturesShape& shape_;
  S x_start_, x_step_;
  double y_start_, y_step_;
  int64_t task_ = 0, image_ = 0;
  Places<S> places_;
  alignas(64) S grad_x_[stretch], grad_y_[stretch], grad_heat_[stretch];
};

// One row of the gradient of one image's source: the parts added up in order.
template <class T>
INTERNET_HD void gather_row(const AnchorFeaturesGather<T>& p, int64_t task) {
  using S = opmath<T>;
  const FramedShape& framed = p.shape.framed;
  const int64_t image = task / p.shape.height, y = task % p.shape.height;
  const auto& s = p.grad_source.stride;
  for (int64_t block = 0; block < framed.blocks; ++block) {
    for (int64_t x = 0; x < p.shape.width; x += 4) {
      const int64_t count = std::min<int64_t>(4, p.shape.width - x);
      Pixel<S> sum[4] = {};
      for (int64_t part = image * p.parts; part < (image + 1) * p.parts; ++part) {
        if (!p.touched[part * framed.rows() + y + 1]) continue;
        const S* pixels = p.scattered + part * framed.size() + framed.row(block, y) + 4 * (x + 1);
        for (int64_t i = 0; i < count; ++i) sum[i] += load<4>(pixels + 4 * i);
      }
      transpose(sum);
      for (int l = 0; l < 4; ++l) {
        const int64_t channel = 4 * block + l - 1;
        if (channel < 0 || channel >= p.shape.channels) continue;
        T* out = p.grad_source.data + image * s[0] + channel * s[1] + y * s[2] + x * s[3];
        if (s[3] == 1 && count == 4) {
          store<4>(out, sum[l]);
        } else {
          for (int64_t i = 0; i < count; ++i) out[i * s[3]] = narrow<T>(sum[l][i]);
        }
      }
    }
  }
}

}  // namespace

template <class T>
void anchor_features_backward(const AnchorFeaturesBackward<T>& p, int64_t begin, int64_t end) {
  FlushDenormals flush;
  auto run = [&](auto parts) {
    for (int64_t task = begin; task < end; ++task) parts.part(task);
  };
  if (p.scattered != nullptr && p.partials != nullptr) {
    run(BackwardPart<true, true, T>(p));
  } else if (p.scattered != nullptr) {
    run(BackwardPart<true, false, T>(p));
  } else {
    run(BackwardPart<false, true, T>(p));
  }
}

template <class T>
void anchor_features_gather(const AnchorFeaturesGather<T>& p, int64_t begin, int64_t end) {
  FlushDenormals flush;
  for (int64_t task = begin; task < end; ++task) gather_row(p, task);
}

INTERNET_INSTANTIATE_KERNEL(anchor_features_backward, AnchorFeaturesBackward)
INTERNET_INSTANTIATE_KERNEL(anchor_features_gather, AnchorFeaturesGather)

}  // namespace internet::cpu::INTERNET_ISA
