// A task owns a band of the source and walks, anchor by anchor, the output rows whose samples fall into it.
// It reads their incoming gradient once, for the gradients with respect to the source (scattered to the
// pixels of each sample), the motion and the heat map. A row that samples two bands is walked by both tasks;
// the first of them alone adds it to the gradients other than the source's. If the source's gradient is not
// wanted, each output row belongs to the band at its own position.
#include <cmath>

#include "cpu/anchor_features/level.h"
#include "cpu/anchor_features/rows.h"
#include "cpu/runtime/denormals.h"
#include "cpu/sampling/pixel_rows.h"

namespace internet::cpu::INTERNET_ISA {
namespace {

using namespace anchor_rows;

// The sums of the components of four vectors.
template <class S>
INTERNET_HD Pixel<S> component_sums(Pixel<S> (&v)[4]) {
  transpose(v);
  return (v[0] + v[1]) + (v[2] + v[3]);
}

// Sums over a row of M gradients, and of each times the column.
template <class V, int M>
struct RowSums {
  V plain[M], by_column[M];

  INTERNET_MEMBER void add(int i, V gradient, V column) {
    plain[i] += gradient;
    by_column[i] += gradient * column;
  }
};

// Sums over a row of the gradient with respect to the heat map times a Gaussian's value, and of that times (x
// - p_x) and (x - p_x)^2.
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
class BandBackward {
 public:
  using S = opmath<T>;
  using V = Native<S>;

  INTERNET_MEMBER explicit BandBackward(const AnchorFeaturesBackward<T, N>& p)
      : p_(p), shape_(p.inputs.shape), heat_rows_(p.inputs) {
    for (int a = 0; a < N; ++a) stride_[a] = 4 * shape_.framed.stride(a);
    if constexpr (N == 3) level_.at_least(3 * level_size(shape_.framed));
  }

  INTERNET_MEMBER void run(int64_t task) {
    task_ = task;
    image_ = task / p_.bands;
    band_ = band_of(task % p_.bands, shape_.size[1], p_.bands);
    target_ = shape_.framed.band(band_.end - band_.begin);
    if constexpr (to_source) {
      for (int a = 0; a < N; ++a) target_stride_[a] = 4 * target_.stride(a);
      std::fill_n(scattered_.at_least(target_.total()), target_.total(), S(0));
    }
    int64_t number = image_ * shape_.rows() * (shape_.anchors + 1);
    for (int64_t row = 0; row < shape_.rows(); ++row) {
      int64_t at[N];
      shape_.locate(row, at);
      for (int64_t k = 0; k <= shape_.anchors; ++k, ++number) {
        int64_t y = at[1];
        if constexpr (to_source) {
          const RowRange range = p_.row_ranges[number];
          y = std::clamp<int64_t>(range.first, 0, shape_.size[1] - 1);
          adds_ = range.last >= band_.begin && range.first < band_.end;
        }
        owns_ = to_anchors && band_.contains(y);
        if (!owns_ && !adds_) continue;
        with_row_motion(p_.inputs, image_, k, at, [&](const auto& motion) { visit_row(motion, k, at); });
      }
    }
    if (to_source) write_band();
  }

 private:
  template <int m>
  INTERNET_MEMBER void visit_row(const math::RowMotion<S, m>& motion, int64_t k, const int64_t (&at)[N]) {
    if constexpr (N == 3 && m == 3) {  // without Jacobians, the gradient of the map's matrix is never wanted
      if (is_level(motion) && (k == 0 || !p_.to_jacobians)) return row_by_level(motion, k, at);
    }
    for (int64_t first = 0; first < shape_.size[0]; first += stretch) {
      const int64_t count = std::min<int64_t>(stretch, shape_.size[0] - first);
      find_places(motion, first, count);
      if (owns_) {
        for (int a = 0; a < N; ++a) std::fill(grad_[a], grad_[a] + stretch, S(0));
        read_heat(k, at, first, count);
      }
      for (int64_t block = 0; block < shape_.framed.blocks; ++block) {
        const auto grad = block_row<const T, N>(p_.grad_output, shape_, image_, k, block, at);
        with_layout(grad, [&](auto layout) { visit<layout()>(grad, block, first, count); });
      }
      if (!owns_) continue;
      add_motion_sums(motion, k, at, first, count);
      add_heat_sums(k, at, first, count);
    }
  }

  // Finds where the samples of a stretch lie in the source, and in the band. Samples outside the band are
  // redirected to a corner of its frame.
  template <int m>
  INTERNET_MEMBER void find_places(const math::RowMotion<S, m>& motion, int64_t first, int64_t count) {
    using I = typename Places<S, N>::I;
    const Index<S> begin = Index<S>(band_.begin), height = Index<S>(target_.size[1]);
    nowhere_ = Places<S, N>::nowhere_in(target_);
    places_.find(motion, first, count, shape_.framed, [&](int64_t i, const I(&lowest)[N], I reads) {
      if constexpr (to_source) {
        const I y = lowest[1] - begin;
        I place = lowest[0] + y * Index<S>(target_.stride(1));
        if constexpr (N == 3) place += lowest[2] * Index<S>(target_.stride(2));
        Places<S, N>::put(targets_ + i, reads & (y >= 0) & (y <= height), place, nowhere_);
      }
    });
  }

  // Loads a stretch of the heat map's incoming gradient, unless the first block of channels contains it.
  INTERNET_MEMBER void read_heat(int64_t k, const int64_t (&at)[N], int64_t first, int64_t count) {
    if (shape_.lead == 1) return;
    read_row(heat_row<const T, N>(p_.grad_output, shape_, image_, k, at), first, count, grad_heat_);
  }
  INTERNET_MEMBER void take_heat(int64_t block, int64_t i, const Pixel<S> (&g)[4]) {
    if (block > 0 || shape_.lead == 0) return;
    store<4>(grad_heat_ + i, Pixel<S>{g[0][0], g[1][0], g[2][0], g[3][0]});
  }

  // See level.h. Neighbouring samples add to the same pixels, so they alternate between two level rows: then
  // one addition does not wait for the other.
  INTERNET_MEMBER void row_by_level(const math::RowMotion<S, 3>& motion, int64_t k, const int64_t (&at)[N]) {
    const FramedShape<N>& framed = shape_.framed;
    const FourRows<S> rows(motion, framed);
    const int64_t height = rows.lowest_y - band_.begin;
    adds_ = to_source && rows.read && height >= 0 && height <= target_.size[1];
    if (!owns_ && !adds_) return;
    const int64_t size = level_size(framed);
    S *level = level_.data(), *even = level + size, *odd = even + size;
    Pixel<S> grad_x{};
    if (owns_ && framed.blocks == 0) add_heat_alone(k, at);
    for (int64_t block = 0; block < framed.blocks; ++block) {
      const S* pixels = p_.inputs.framed + image_ * framed.total() + block * framed.block_size();
      const bool moves = owns_ && k > 0;
      if (moves) rows.interpolate(pixels, framed, level);
      std::fill(even, even + 2 * size, S(0));
      const auto grad = block_row<const T, N>(p_.grad_output, shape_, image_, k, block, at);
      for (int64_t first = 0; first < shape_.size[0]; first += stretch) {
        const int64_t count = std::min<int64_t>(stretch, shape_.size[0] - first);
        level_places_.find(along_x(motion), first, count, level_shape(framed));
        if (block == 0 && owns_) read_heat(k, at, first, count);
        with_layout(grad, [&](auto layout) {
          grad_x += visit_level<layout()>(grad, block, first, count, moves, level, even, odd);
        });
        if (owns_ && block == 0) add_heat_sums(k, at, first, count);
      }
      if (rows.read) spread(rows, even, odd, pixels, block, k);
    }
    if (owns_ && k > 0 && rows.read) {
      p_.motion_partials[task_ * shape_.anchors + k - 1].offset[0] +=
          double(grad_x[0]) + double(grad_x[1]) + double(grad_x[2]) + double(grad_x[3]);
    }
  }
  // For a source without channels.
  INTERNET_MEMBER void add_heat_alone(int64_t k, const int64_t (&at)[N]) {
    for (int64_t first = 0; first < shape_.size[0]; first += stretch) {
      const int64_t count = std::min<int64_t>(stretch, shape_.size[0] - first);
      read_heat(k, at, first, count);
      add_heat_sums(k, at, first, count);
    }
  }

  // Scatters a stretch's gradients into the two level rows. Returns the gradient with respect to the motion
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

  // Distributes the level rows to the four rows of the source's gradient. Also multiplies them by the
  // source's change from row to row, which gives the gradient with respect to the motion along y and z.
  INTERNET_MEMBER void spread(const FourRows<S>& rows, const S* even, const S* odd, const S* pixels,
                              int64_t block, int64_t k) {
    constexpr int n = lanes<S>;
    const FramedShape<N>& framed = shape_.framed;
    if (adds_) {
      S* scattered = scattered_.data() + block * target_.block_size();
      const math::Corners<S> weight = math::corner_weights(rows.y, rows.z);
      const math::Corners<S*> to = rows.of(scattered, target_, band_.begin);
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
    if (!owns_ || k == 0) return;
    V grad_y{}, grad_z{};
    rows.each_vector(rows.of(pixels, framed), framed, [&](int64_t i, const math::Corners<V>& four) {
      // The frame has no gradient, not even a NaN times its zeros; nor do pixels past the row.
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

  // The incoming gradients of four pixels; 0 past the row's end and for missing channels.
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
    for (int64_t i = 0; i < count; i += 4) {
      bool adds = false;
      if constexpr (to_source) {  // otherwise every row that is visited belongs to this band
        adds = leads_here(i);
        if (!owns_ && !adds) continue;
      }
      Pixel<S> g[4];
      math::Axis<S> axes[4][N];
      read<L>(grad, first + i, count - i, g);
      take_heat(block, i, g);
      for (int j = 0; j < 4; ++j) places_.axes(i + j, axes[j]);
      if (to_anchors && (owns_ || !to_source)) {
        Pixel<S> moved[N][4];
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
      if (!adds) continue;
      S* scattered = scattered_.data() + block * target_.block_size();
#pragma GCC unroll 4
      for (int j = 0; j < 4; ++j) scatter<N - 1>(scattered + 4 * targets_[i + j], axes[j], g[j]);
    }
  }
  // Whether any of four samples lies in the band.
  INTERNET_MEMBER bool leads_here(int64_t i) const {
    bool any = false;
    for (int j = 0; j < 4; ++j) any |= targets_[i + j] != nowhere_;
    return any;
  }

  // Adds a sample's gradient to its pixels by their weights, split along one axis after the other.
  template <int axis>
  INTERNET_MEMBER void scatter(S* lowest, const math::Axis<S> (&axes)[N], Pixel<S> g) {
    if constexpr (axis >= 0) {
      scatter<axis - 1>(lowest, axes, g * axes[axis].low_weight);
      scatter<axis - 1>(lowest + target_stride_[axis], axes, g * axes[axis].high_weight);
    } else {
      store<4>(lowest, load<4>(lowest) + g);
    }
  }

  // A stretch of the gradient with respect to the position along an axis. A sample that reads nothing has
  // none, not even a NaN times the frame's zeros.
  INTERNET_MEMBER V position_gradient(int axis, int64_t i) const {
    return math::select(places_.read(i), load<lanes<S>>(grad_[axis] + i), V{});
  }

  // Adds a stretch of a row to the gradient of a motion. A background that stands still has none.
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
  // From the gradients with respect to a map's values along a row to the gradient with respect to the map.
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
    if (p_.inputs.factors != nullptr) return;  // one variance for all anchors, which has no gradient
    const double second = total(sums.second) * scale;
    math::each_axis_pair<N>([&](int place, int i, int j) {
      out.second[place] += i > 0 ? mass * d[i] * d[j] : j > 0 ? moment * d[j] : second;
    });
  }

  // Writes the band's rows of the source's gradient.
  INTERNET_MEMBER void write_band() const {
    for (int64_t z = 0; z < shape_.rows() / shape_.size[1]; ++z) {
      for (int64_t y = 0; y < target_.size[1]; ++y) {
        int64_t at[N] = {};
        at[N - 1] = z;
        at[1] = band_.begin + y;
        const int64_t number = (N == 2 ? 0 : z + 1) * target_.extent(1) + y + 1;
        for (int64_t block = 0; block < target_.blocks; ++block) {
          write_row(scattered_.data() + block * target_.block_size() + number * target_.row_size() + 4, block,
                    at);
        }
      }
    }
  }
  INTERNET_MEMBER void write_row(const S* pixels, int64_t block, const int64_t (&at)[N]) const {
    const auto& s = p_.grad_source.stride;
    const int64_t width = shape_.size[0], column_stride = s[N + 1];
    T* start = p_.grad_source.data + image_ * s[0];
    for (int a = 1; a < N; ++a) start += at[a] * s[N + 1 - a];
    for (int64_t x = 0; x < width; x += 4) {
      const int64_t count = std::min<int64_t>(4, width - x);
      Pixel<S> sum[4];
      for (int i = 0; i < 4; ++i) sum[i] = i < count ? load<4>(pixels + 4 * (x + i)) : Pixel<S>{};
      transpose(sum);
      for (int l = 0; l < 4; ++l) {
        const int64_t channel = 4 * block + l - shape_.lead;
        if (channel < 0 || channel >= shape_.channels) continue;
        T* out = start + channel * s[1] + x * column_stride;
        if (column_stride == 1 && count == 4) {
          store<4>(out, sum[l]);
        } else {
          for (int64_t i = 0; i < count; ++i) out[i * column_stride] = narrow<T>(sum[l][i]);
        }
      }
    }
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
  int64_t stride_[N], target_stride_[N];
  int64_t task_ = 0, image_ = 0;
  Band band_{};
  FramedShape<N> target_;        // of the band
  GrowingScratch<S> scattered_;  // the band's gradient
  bool owns_ = false;            // whether the current row adds to the anchors' gradients in this task
  bool adds_ = false;            // whether it adds to the source's gradient
  Places<S, N> places_;
  alignas(64) Index<S> targets_[stretch];  // like places_, but in the band
  Index<S> nowhere_ = 0;                   // where samples outside the band go
  Places<S, 1> level_places_;
  GrowingScratch<S> level_;  // volumes: one level row, and two of gradients
  // Gradients with respect to a stretch's positions and heat map, and its Gaussians.
  alignas(64) S grad_[N][stretch], grad_heat_[stretch], driving_[stretch], source_[stretch];
};

// The range of the source coordinate y in which a row's samples lie.
template <class S, int N, int m>
INTERNET_HD RowRange row_range(const math::RowMotion<S, m>& motion, const int64_t (&size)[N]) {
  // Along a row, y is monotonic, so its ends bound it. Where the denominator of a projective map changes
  // sign, however, the row may reach any y, and its quotients are rounded.
  const S end = S(size[0] - 1), least = S(-1), most = S(size[1]);
  S low = math::source_pixel<N>(motion, S(0)).axis[1], high = math::source_pixel<N>(motion, end).axis[1];
  if (high < low) std::swap(low, high);
  if constexpr (m != N) {
    const bool bounded = motion.at(S(0)).axis[m - 1] * motion.at(end).axis[m - 1] > 0;
    low = bounded ? low - 1 : least;
    high = bounded ? high + 1 : most;
  }
  const auto floor = [&](S y) { return int32_t(std::floor(math::at_most(math::at_least(y, least), most))); };
  return {floor(low), floor(high) + 1};
}

}  // namespace

template <class T, int N>
void anchor_features_row_ranges(const AnchorFeaturesRowRanges<T, N>& p, int64_t begin, int64_t end) {
  const AnchorFeaturesShape<N>& shape = p.inputs.shape;
  RowRange* range = p.row_ranges + begin * (shape.anchors + 1);
  for (int64_t task = begin; task < end; ++task) {
    int64_t at[N];
    shape.locate(task % shape.rows(), at);
    for (int64_t k = 0; k <= shape.anchors; ++k, ++range) {
      with_row_motion(p.inputs, task / shape.rows(), k, at,
                      [&](const auto& motion) { *range = row_range(motion, shape.size); });
    }
  }
}

template <class T, int N>
void anchor_features_backward(const AnchorFeaturesBackward<T, N>& p, int64_t begin, int64_t end) {
  FlushDenormals flush;
  auto run = [&](auto bands) {
    for (int64_t task = begin; task < end; ++task) bands.run(task);
  };
  if (p.grad_source.data != nullptr && p.to_anchors) {
    run(BandBackward<true, true, T, N>(p));
  } else if (p.grad_source.data != nullptr) {
    run(BandBackward<true, false, T, N>(p));
  } else {
    run(BandBackward<false, true, T, N>(p));
  }
}

INTERNET_INSTANTIATE_KERNEL_OF_AXES(anchor_features_row_ranges, AnchorFeaturesRowRanges)
INTERNET_INSTANTIATE_KERNEL_OF_AXES(anchor_features_backward, AnchorFeaturesBackward)

}  // namespace internet::cpu::INTERNET_ISA
