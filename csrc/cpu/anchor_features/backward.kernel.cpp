// A part, some rows of one output, walks every anchor over every row: it reads the incoming gradient once,
// for the gradients of the source (scattered to the pixels of each sample), of the motion and of the heat
// map.
#include <cmath>

#include "cpu/anchor_features/level.h"
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

// Sums over a row of M gradients, and of the same times the column.
template <class V, int M>
struct RowSums {
  V plain[M], by_column[M];

  INTERNET_MEMBER void add(int i, V gradient, V column) {
    plain[i] += gradient;
    by_column[i] += gradient * column;
  }
};

// Sums over a row of the gradient with respect to the heat map times a Gaussian's value, and of that times
// the first and the second power of x - p_x.
template <class V>
struct HeatSums {
  V mass, moment, second;

  INTERNET_MEMBER void add(V weighted, V distance) {
    mass += weighted;
    moment += weighted * distance;
    second += weighted * distance * distance;
  }
};

template <bool to_source, bool to_anchors, class T, int N>
class BackwardPart {
 public:
  using S = opmath<T>;
  using V = Native<S>;

  INTERNET_MEMBER explicit BackwardPart(const AnchorFeaturesBackward<T, N>& p)
      : p_(p), shape_(p.inputs.shape), heat_rows_(p.inputs) {
    for (int a = 0; a < N; ++a) stride_[a] = 4 * shape_.framed.stride(a);
    if constexpr (N == 3) level_.at_least(3 * level_size(shape_.framed));
  }

  INTERNET_MEMBER void part(int64_t task) {
    task_ = task;
    image_ = task / p_.parts;
    const int64_t part = task % p_.parts, rows = shape_.rows();
    const int64_t begin = part * rows / p_.parts, end = (part + 1) * rows / p_.parts;
    for (int64_t row = begin; row < end; ++row) {
      int64_t at[N];
      shape_.locate(row, at);
      for (int64_t k = 0; k <= shape_.anchors; ++k) {
        with_row_motion(p_.inputs, image_, k, at, [&](const auto& motion) { visit_row(motion, k, at); });
      }
    }
  }

 private:
  template <int m>
  INTERNET_MEMBER void visit_row(const math::RowMotion<S, m>& motion, int64_t k, const int64_t (&at)[N]) {
    if constexpr (N == 3 && m == 3) {  // without Jacobians nobody asks for the gradient of the map's matrix
      if (is_level(motion) && (k == 0 || !p_.to_jacobians)) return row_by_level(motion, k, at);
    }
    if (to_source) touch(motion);
    for (int64_t first = 0; first < shape_.size[0]; first += stretch) {
      const int64_t count = std::min<int64_t>(stretch, shape_.size[0] - first);
      places_.find(motion, first, count, shape_.framed);
      for (int a = 0; a < N; ++a) std::fill(grad_[a], grad_[a] + stretch, S(0));
      read_heat(k, at, first, count);
      for (int64_t block = 0; block < shape_.framed.blocks; ++block) {
        const auto grad = block_row<const T, N>(p_.grad_output, shape_, image_, k, block, at);
        with_layout(grad, [&](auto layout) { visit<layout()>(grad, block, first, count); });
      }
      if (!to_anchors) continue;
      add_motion_sums(motion, k, at, first, count);
      add_heat_sums(k, at, first, count);
    }
  }

  // A stretch of the heat map's incoming gradient, unless it comes with the first channels.
  INTERNET_MEMBER void read_heat(int64_t k, const int64_t (&at)[N], int64_t first, int64_t count) {
    if (shape_.lead == 1) return;
    read_row(heat_row<const T, N>(p_.grad_output, shape_, image_, k, at), first, count, grad_heat_);
  }
  INTERNET_MEMBER void take_heat(int64_t block, int64_t i, const Pixel<S> (&g)[4]) {
    if (block > 0 || shape_.lead == 0) return;
    store<4>(grad_heat_ + i, Pixel<S>{g[0][0], g[1][0], g[2][0], g[3][0]});
  }

  // See level.h. Neighbouring samples add to the same pixels: by turns to two level rows, so that one need
  // not wait for the other.
  INTERNET_MEMBER void row_by_level(const math::RowMotion<S, 3>& motion, int64_t k, const int64_t (&at)[N]) {
    const FramedShape<N>& framed = shape_.framed;
    const FourRows<S> rows(motion, framed);
    const int64_t size = level_size(framed);
    S *level = level_.data(), *even = level + size, *odd = even + size;
    Pixel<S> grad_x{};
    if (to_anchors && framed.blocks == 0) add_heat_alone(k, at);
    for (int64_t block = 0; block < framed.blocks; ++block) {
      const S* pixels = p_.inputs.framed + image_ * framed.total() + block * framed.block_size();
      if (to_anchors && k > 0) rows.interpolate(pixels, framed, level);
      std::fill(even, even + 2 * size, S(0));
      const auto grad = block_row<const T, N>(p_.grad_output, shape_, image_, k, block, at);
      for (int64_t first = 0; first < shape_.size[0]; first += stretch) {
        const int64_t count = std::min<int64_t>(stretch, shape_.size[0] - first);
        level_places_.find(along_x(motion), first, count, level_shape(framed));
        if (block == 0) read_heat(k, at, first, count);
        with_layout(grad, [&](auto layout) {
          grad_x += visit_level<layout()>(grad, block, first, count, k > 0, level, even, odd);
        });
        if (to_anchors && block == 0) add_heat_sums(k, at, first, count);
      }
      if (rows.read) spread(rows, even, odd, pixels, block, k);
    }
    if (to_anchors && k > 0 && rows.read) {
      p_.motion_partials[task_ * shape_.anchors + k - 1].offset[0] +=
          double(grad_x[0]) + double(grad_x[1]) + double(grad_x[2]) + double(grad_x[3]);
    }
  }
  // Where there is no channel.
  INTERNET_MEMBER void add_heat_alone(int64_t k, const int64_t (&at)[N]) {
    for (int64_t first = 0; first < shape_.size[0]; first += stretch) {
      const int64_t count = std::min<int64_t>(stretch, shape_.size[0] - first);
      read_heat(k, at, first, count);
      add_heat_sums(k, at, first, count);
    }
  }

  // Scatters a stretch's gradients into the two level rows; returns the gradient with respect to the motion
  // along x, by channels, if it `moves`.
  template <Layout L>
  INTERNET_MEMBER Pixel<S> visit_level(const ImageRow<const T>& grad, int64_t block, int64_t first,
                                       int64_t count, bool moves, const S* level, S* even, S* odd) {
    Pixel<S> grad_x{};
    const auto add = [](S* at, Pixel<S> v) { store<4>(at, load<4>(at) + v); };
    for (int64_t i = 0; i < count; i += 4) {
      Pixel<S> g[4];
      read<L>(grad, first + i, count - i, g);
      take_heat(block, i, g);
#pragma GCC unroll 4
      for (int j = 0; j < 4; ++j) {
        const int64_t at = 4 * level_places_.pixel[i + j];
        S* to = (j % 2 == 0 ? even : odd) + at;
        add(to, g[j] * level_places_.low[0][i + j]);
        add(to + 4, g[j] * level_places_.high[0][i + j]);
        if (to_anchors && moves && level_places_.pixel[i + j] != level_places_.nowhere) {
          grad_x += g[j] * (load<4>(level + at + 4) - load<4>(level + at));
        }
      }
    }
    return grad_x;
  }

  // From the level rows to the four rows of the source's gradient; and their products with the change from
  // row to row, which is what reaches the motion along y and z.
  INTERNET_MEMBER void spread(const FourRows<S>& rows, const S* even, const S* odd, const S* pixels,
                              int64_t block, int64_t k) {
    constexpr int n = lanes<S>;
    const FramedShape<N>& framed = shape_.framed;
    if constexpr (to_source) {
      for (int64_t number : {rows.number.nw, rows.number.ne, rows.number.sw, rows.number.se})
        touch_row(number);
      S* scattered = p_.scattered + task_ * framed.total() + block * framed.block_size();
      const math::Corners<S> weight = math::corner_weights(rows.y, rows.z);
      const math::Corners<S*> to = rows.of(scattered, framed);
      const auto add = [&](S* row, S w) {
        int64_t i = 0;
        for (; i + n <= framed.row_size(); i += n) {
          store<n>(row + i, load<n>(row + i) + (load<n>(even + i) + load<n>(odd + i)) * w);
        }
        for (; i < framed.row_size(); ++i) row[i] += (even[i] + odd[i]) * w;
      };
      add(to.nw, weight.nw);
      add(to.ne, weight.ne);
      add(to.sw, weight.sw);
      add(to.se, weight.se);
    }
    if (!to_anchors || k == 0) return;
    V grad_y{}, grad_z{};
    rows.each_vector(rows.of(pixels, framed), framed, [&](int64_t i, const math::Corners<V>& four) {
      // The frame has no gradient, not even that of a NaN times its zeros; nor is there one past the row.
      const auto value = iota<V>() + S(i);
      const auto inside = (value >= S(4)) & (value < S(4 + 4 * shape_.size[0]));
      const V g = math::select(inside, load<n>(even + i) + load<n>(odd + i), V{});
      const auto slopes = math::blend_slopes(four, rows.y, rows.z);
      grad_y += math::select(inside, g * slopes.x, V{});
      grad_z += math::select(inside, g * slopes.y, V{});
    });
    auto& out = p_.motion_partials[task_ * shape_.anchors + k - 1];
    out.offset[1] += total(grad_y);
    out.offset[2] += total(grad_z);
  }

  // Makes sure that the rows about to be added to hold numbers. Along the row each coordinate changes in one
  // direction only, so its ends bound it; a row more on either side allows for rounding. But where the
  // denominator of a projective map changes its sign, the row may lead anywhere.
  template <int m>
  INTERNET_MEMBER void touch(const math::RowMotion<S, m>& motion) {
    const S end = S(shape_.size[0] - 1);
    const math::Point<S, N> first = math::source_pixel<N>(motion, S(0)),
                            last = math::source_pixel<N>(motion, end);
    const bool bounded = m == N || motion.at(S(0)).axis[m - 1] * motion.at(end).axis[m - 1] > 0;
    int64_t from[N] = {}, to[N] = {};
    for (int a = 1; a < N; ++a) {
      to[a] = shape_.size[a] - 1;
      if (!bounded) continue;
      const auto row = [&](S t) {
        return int64_t(math::at_most(math::at_least(t, S(-1)), S(shape_.size[a])));
      };
      from[a] = std::max<int64_t>(row(std::min(first.axis[a], last.axis[a])) - 2, from[a]);
      to[a] = std::min<int64_t>(row(std::max(first.axis[a], last.axis[a])) + 2, to[a]);
    }
    touch_rows<N - 1>(from, to, from);
  }
  // Every row of these coordinates.
  template <int axis>
  INTERNET_MEMBER void touch_rows(const int64_t (&from)[N], const int64_t (&to)[N], const int64_t (&at)[N]) {
    if constexpr (axis == 0) {
      touch_row(shape_.framed.row(at));
    } else {
      int64_t here[N];
      std::copy(at, at + N, here);
      for (here[axis] = from[axis]; here[axis] <= to[axis]; ++here[axis])
        touch_rows<axis - 1>(from, to, here);
    }
  }
  INTERNET_MEMBER void touch_row(int64_t number) {
    const FramedShape<N>& framed = shape_.framed;
    uint8_t& touched = p_.touched[task_ * framed.rows() + number];
    if (touched) return;
    touched = 1;
    for (int64_t block = 0; block < framed.blocks; ++block) {
      S* row =
          p_.scattered + task_ * framed.total() + block * framed.block_size() + number * framed.row_size();
      std::fill(row, row + framed.row_size(), S(0));
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
    const FramedShape<N>& framed = shape_.framed;
    const S* pixels = p_.inputs.framed + image_ * framed.total() + block * framed.block_size();
    S* scattered = nullptr;
    if (to_source) scattered = p_.scattered + task_ * framed.total() + block * framed.block_size();
    for (int64_t i = 0; i < count; i += 4) {
      Pixel<S> g[4], moved[N][4];
      math::Axis<S> axes[4][N];
      read<L>(grad, first + i, count - i, g);
      take_heat(block, i, g);
      for (int j = 0; j < 4; ++j) places_.axes(i + j, axes[j]);
      if constexpr (to_anchors) {
#pragma GCC unroll 4
        for (int j = 0; j < 4; ++j) {
          Pixel<S> slopes[N];
          math::blend_slopes(corners<N>(pixels + 4 * places_.pixel[i + j], stride_), axes[j], slopes);
          for (int a = 0; a < N; ++a) moved[a][j] = g[j] * slopes[a];
        }
        for (int a = 0; a < N; ++a) {
          store<4>(grad_[a] + i, load<4>(grad_[a] + i) + component_sums<S>(moved[a]));
        }
      }
      if constexpr (to_source) {
#pragma GCC unroll 4
        for (int j = 0; j < 4; ++j) scatter<N - 1>(scattered + 4 * places_.pixel[i + j], axes[j], g[j]);
      }
    }
  }

  // Adds the shares of a sample's gradient to its pixels, split along one axis after the other.
  template <int axis>
  INTERNET_MEMBER void scatter(S* lowest, const math::Axis<S> (&axes)[N], Pixel<S> g) {
    if constexpr (axis >= 0) {
      scatter<axis - 1>(lowest, axes, g * axes[axis].low_weight);
      scatter<axis - 1>(lowest + stride_[axis], axes, g * axes[axis].high_weight);
    } else {
      store<4>(lowest, load<4>(lowest) + g);
    }
  }

  // A stretch of the gradient with respect to the position along an axis. A sample that reads nothing has
  // none, not even that of a NaN times the frame's zeros.
  INTERNET_MEMBER V position_gradient(int axis, int64_t i) const {
    return math::select(places_.read(i), load<lanes<S>>(grad_[axis] + i), V{});
  }

  // Adds a stretch of a row to the gradient of a motion. That of a still background goes nowhere.
  template <int m>
  INTERNET_MEMBER void add_motion_sums(const math::RowMotion<S, m>& motion, int64_t k, const int64_t (&at)[N],
                                       int64_t first, int64_t count) {
    if (m == N && k == 0) return;
    RowSums<V, m> sums{};
    for (int64_t i = 0; i < count; i += lanes<S>) {
      const V column = iota<V>() + S(first + i);
      math::Point<V, N> position;
      for (int a = 0; a < N; ++a) position.axis[a] = position_gradient(a, i);
      if constexpr (m == N) {
        for (int a = 0; a < m; ++a) sums.add(a, position.axis[a], column);
      } else {
        const math::Point<V, m> grad = math::from_homogeneous_vjp(motion.at(column), position);
        for (int a = 0; a < m; ++a) sums.add(a, math::select(places_.read(i), grad.axis[a], V{}), column);
      }
    }
    if constexpr (m == N) {
      add_row(sums, at, p_.motion_partials[task_ * shape_.anchors + k - 1]);
    } else {
      add_row(sums, at, p_.background_partials[task_]);
    }
  }
  // From the gradients with respect to a map's values along a row to that with respect to the map.
  template <int m>
  INTERNET_MEMBER static void add_row(const RowSums<V, m>& sums, const int64_t (&at)[N],
                                      math::Affine<double, N, m>& out) {
    for (int i = 0; i < m; ++i) {
      const double sum = total(sums.plain[i]);
      out.matrix[i][0] += total(sums.by_column[i]);
      for (int a = 1; a < N; ++a) out.matrix[i][a] += sum * double(at[a]);
      out.offset[i] += sum;
    }
  }

  // Adds a stretch of a row to the gradients of an anchor's two Gaussians; the background has none.
  INTERNET_MEMBER void add_heat_sums(int64_t k, const int64_t (&at)[N], int64_t first, int64_t count) {
    if (k == 0) return;
    const int64_t anchor = k - 1, index = image_ * shape_.anchors + anchor;
    const math::HeatMap<double, N>& heat_map = p_.inputs.heat_maps[index];
    const auto d = heat_rows_.template driving<true>(index, at, first, count, driving_);
    const auto s = heat_rows_.template source<true>(index, at, first, count, source_);
    const S driving_x = S(heat_map.driving.point[0]), source_x = S(heat_map.source.point[0]);
    HeatSums<V> driving{}, source{};
    for (int64_t i = 0; i < count; i += lanes<S>) {
      const V x = heat_rows_.x(iota<V>() + S(first + i));
      const V heat = load_some(grad_heat_ + i, count - i);
      driving.add(heat * load_some(d.values + i, count - i), x - driving_x);
      source.add(heat * load_some(s.values + i, count - i), x - source_x);
    }
    math::HeatMapMoments<double, N>& sum = p_.heat_partials[task_ * shape_.anchors + anchor];
    add_moments(driving, d.scale, heat_map.driving, at, sum.driving);
    add_moments(source, -s.scale, heat_map.source, at, sum.source);
  }
  INTERNET_MEMBER void add_moments(const HeatSums<V>& sums, double scale,
                                   const math::Gaussian<double, N>& gaussian, const int64_t (&at)[N],
                                   math::GaussianMoments<double, N>& out) {
    double d[N];
    heat_rows_.distances(gaussian, at, d);
    const double mass = total(sums.mass) * scale, moment = total(sums.moment) * scale;
    out.first[0] += moment;
    for (int a = 1; a < N; ++a) out.first[a] += mass * d[a];
    if (p_.inputs.factors != nullptr) return;  // one variance for all, which has no gradient
    const double second = total(sums.second) * scale;
    math::each_axis_pair<N>([&](int place, int i, int j) {
      out.second[place] += i > 0 ? mass * d[i] * d[j] : j > 0 ? moment * d[j] : second;
    });
  }

  INTERNET_MEMBER static double total(V v) { return double(sum_of_lanes<lanes<S>>(v)); }
  INTERNET_MEMBER static V load_some(const S* p, int64_t count) {
    if (count >= lanes<S>) return load<lanes<S>>(p);
    V v{};
    for (int l = 0; l < count; ++l) v[l] = p[l];
    return v;
  }

  const AnchorFeaturesBackward<T, N>& p_;
  const AnchorFeaturesShape<N>& shape_;
  HeatRows<T, N> heat_rows_;
  int64_t stride_[N];
  int64_t task_ = 0, image_ = 0;
  Places<S, N> places_;
  Places<S, 1> level_places_;
  GrowingScratch<S> level_;  // of a volume: a level row, and two of gradients
  // Gradients with respect to a stretch's positions and heat map; and its Gaussians.
  alignas(64) S grad_[N][stretch], grad_heat_[stretch], driving_[stretch], source_[stretch];
};

// One row of the gradient of one image's source: the parts added up in order.
template <class T, int N>
INTERNET_HD void gather_row(const AnchorFeaturesGather<T, N>& p, int64_t task) {
  using S = opmath<T>;
  const FramedShape<N>& framed = p.shape.framed;
  const int64_t image = task / p.shape.rows(), width = p.shape.size[0];
  int64_t at[N];
  p.shape.locate(task % p.shape.rows(), at);
  const int64_t number = framed.row(at);
  const auto& s = p.grad_source.stride;
  T* start = p.grad_source.data + image * s[0];
  for (int a = 1; a < N; ++a) start += at[a] * s[N + 1 - a];
  const int64_t column_stride = s[N + 1];
  for (int64_t block = 0; block < framed.blocks; ++block) {
    for (int64_t x = 0; x < width; x += 4) {
      const int64_t count = std::min<int64_t>(4, width - x);
      Pixel<S> sum[4] = {};
      for (int64_t part = image * p.parts; part < (image + 1) * p.parts; ++part) {
        if (!p.touched[part * framed.rows() + number]) continue;
        const S* pixels = p.scattered + part * framed.total() + block * framed.block_size() +
                          number * framed.row_size() + 4 * (x + 1);
        for (int64_t i = 0; i < count; ++i) sum[i] += load<4>(pixels + 4 * i);
      }
      transpose(sum);
      for (int l = 0; l < 4; ++l) {
        const int64_t channel = 4 * block + l - p.shape.lead;
        if (channel < 0 || channel >= p.shape.channels) continue;
        T* out = start + channel * s[1] + x * column_stride;
        if (column_stride == 1 && count == 4) {
          store<4>(out, sum[l]);
        } else {
          for (int64_t i = 0; i < count; ++i) out[i * column_stride] = narrow<T>(sum[l][i]);
        }
      }
    }
  }
}

}  // namespace

template <class T, int N>
void anchor_features_backward(const AnchorFeaturesBackward<T, N>& p, int64_t begin, int64_t end) {
  FlushDenormals flush;
  auto run = [&](auto parts) {
    for (int64_t task = begin; task < end; ++task) parts.part(task);
  };
  if (p.scattered != nullptr && p.to_anchors) {
    run(BackwardPart<true, true, T, N>(p));
  } else if (p.scattered != nullptr) {
    run(BackwardPart<true, false, T, N>(p));
  } else {
    run(BackwardPart<false, true, T, N>(p));
  }
}

template <class T, int N>
void anchor_features_gather(const AnchorFeaturesGather<T, N>& p, int64_t begin, int64_t end) {
  FlushDenormals flush;
  for (int64_t task = begin; task < end; ++task) gather_row(p, task);
}

INTERNET_INSTANTIATE_KERNEL_OF_AXES(anchor_features_backward, AnchorFeaturesBackward)
INTERNET_INSTANTIATE_KERNEL_OF_AXES(anchor_features_gather, AnchorFeaturesGather)

}  // namespace internet::cpu::INTERNET_ISA
