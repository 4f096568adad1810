// The exponentials are computed once more, a strip of a row at a time, and stay in L1 while each anchor in
// turn passes over the strip: its sums then stay in registers.
#include "cpu/affine_mixture/rows.h"
#include "cpu/runtime/denormals.h"

namespace internet::cpu::INTERNET_ISA {
namespace {

// Reduces a map's gradient over the lanes of its vectors.
template <class V, int N, int M>
INTERNET_HD math::Affine<double, N, M> total(const math::Affine<V, N, M>& sums) {
  constexpr int lanes = math::Value<V>::lanes;
  math::Affine<double, N, M> out;
  for (int i = 0; i < M; ++i) {
    for (int j = 0; j < N; ++j) out.matrix[i][j] = double(sum_of_lanes<lanes>(sums.matrix[i][j]));
    out.offset[i] = double(sum_of_lanes<lanes>(sums.offset[i]));
  }
  return out;
}

template <bool thresholded, class T, int N>
class BackwardRows {
 public:
  using S = opmath<T>;
  using V = Pixels<T>;
  using Point = math::Point<V, N>;

  INTERNET_MEMBER explicit BackwardRows(const AffineMixtureBackward<T, N>& p)
      : p_(p),
        anchors_(p.mixture.anchors),
        channels_(anchors_ + 1),
        width_(p.mixture.width()),
        row_(p.mixture),
        exponentials_(strip_vectors * channels_),
        strip_(strip_vectors),
        grad_logits_(channels_, strip_vectors),
        sums_(anchors_) {}

  INTERNET_MEMBER void group(int64_t task) {
    const int64_t groups = p_.mixture.groups(), rows = p_.mixture.rows();
    const int64_t image = task / groups, first = task % groups * rows_per_group;
    for (int64_t k = 0; k < anchors_; ++k) sums_[k] = {};
    background_sums_ = {};
    for (int64_t row = first; row < std::min(first + rows_per_group, rows); ++row) one_row(image, row);
    for (int64_t k = 0; k < anchors_; ++k) p_.partials[task * anchors_ + k] = total(sums_[k]);
    if (row_.has_background()) p_.background_partials[task] = total(background_sums_);
  }

 private:
  static constexpr int n = vectors_at_once;
  static constexpr int strip_vectors = 8;

  // The contributions of one vector of pixels that are the same for all anchors.
  struct PixelGradient {
    math::CompositionGradient<thresholded, V, N> gradient;
    V total;
  };

  INTERNET_MEMBER void one_row(int64_t image, int64_t row) {
    row_.begin(image, row);
    const auto& g = p_.grad_field.stride;
    const auto& stride = p_.grad_logits.stride;
    row_grad_ = p_.grad_field.data + image * g[0] + p_.mixture.row_offset(row, g + 1);
    row_out_ = p_.grad_logits.data;
    if (row_out_ != nullptr) row_out_ += image * stride[0] + p_.mixture.row_offset(row, stride + 2);
    for (int64_t x = 0; x < width_; x += strip_vectors * lanes<T>) strip(x);
  }

  INTERNET_MEMBER void strip(int64_t column) {
    const int64_t left = (width_ - column + lanes<T> - 1) / lanes<T>;
    const int vectors = int(std::min<int64_t>(left, strip_vectors));
    for (int i = 0; i < vectors; i += n) compose(column, i);

    const int64_t anchor_stride = p_.grad_logits.stride[1], pixel_stride = p_.grad_logits.stride[N + 1];
    T* out = row_out_ == nullptr ? nullptr : row_out_ + column * pixel_stride;
    // How many vectors are stored where they belong: all but the one at the row's end, if it is not full.
    const int64_t full = std::min<int64_t>(vectors, (width_ - column) / lanes<T>);
    const int direct = out != nullptr && pixel_stride == 1 ? int(full) : 0;
    auto to_memory = [=, row_stride = p_.grad_logits.stride[N]](int k, int i, V v) {
      T* at = out + k * anchor_stride + i * lanes<T>;
      __builtin_prefetch(at + row_stride, 0,
                         2);  // the next row, so that a store waits for the L2 cache at most
      store<lanes<T>>(at, v);
    };
    if (direct == vectors) return all_motions(column, vectors, to_memory);
    all_motions(column, vectors, [&](int k, int i, V v) {
      if (i < direct) return to_memory(k, i, v);
      grad_logits_.planes(i)[k] = v;
    });
    if (out == nullptr) return;
    for (int i = direct; i < vectors; ++i) {
      const int64_t first = i * lanes<T>;
      const int count = pixels_from<T>(column + first, width_);
      const bool last = column + first + 2 * lanes<T> > width_;
      grad_logits_.store_to(out + first * pixel_stride, i, anchor_stride, pixel_stride, count, last);
    }
  }

  INTERNET_MEMBER auto exponentials(int i) const {
    return [e = exponentials_.data() + i * channels_](int k) { return e[k]; };
  }

  // Vectors i.. of the strip: everything that does not depend on the anchor.
  INTERNET_MEMBER void compose(int64_t column, int i) {
    math::Composition<V, N> f[n];
    auto keep = [e = exponentials_.data() + i * channels_, channels = channels_](int k, int j, V value) {
      e[j * channels + k] = value;
    };
    row_.template compose<thresholded>(column + i * lanes<T>, keep, f);
    const int anchors = int(anchors_);
    const S threshold = p_.mixture.threshold;
    const int64_t pixel_stride = p_.grad_field.stride[N], axis_stride = p_.grad_field.stride[N + 1];
    for (int j = 0; j < n; ++j) {
      const int64_t first = column + (i + j) * lanes<T>;
      // 0 past the row's end, so those lanes contribute nothing
      const Point grad = load_points<N, V>(row_grad_ + first * pixel_stride, pixel_stride, axis_stride,
                                           pixels_from<T>(first, width_));
      const V x = row_.x_of(first);
      auto e = exponentials(i + j);
      Point still{};
      if constexpr (thresholded) {
        still = row_.still(x);
        f[j] = math::compose<true>(anchors, e, row_.motion(), still, x, threshold);
      }
      auto gradient =
          math::composition_gradient<thresholded>(f[j], anchors, e, row_.motion(), still, x, threshold, grad);
      strip_[i + j] = {gradient, f[j].total};
    }
  }

  // Two anchors at a time share what is loaded of a pixel, and their independent chains of operations
  // overlap.
  template <class Emit>
  INTERNET_MEMBER void all_motions(int64_t column, int vectors, Emit emit) {
    background(column, vectors, emit);
    int k = 1;
    for (; k < anchors_; k += 2) anchors_from<2>(k, column, vectors, emit);
    if (k == anchors_) anchors_from<1>(k, column, vectors, emit);
  }

  // emit(k, i, v) takes the gradient with respect to logit k of vector i.
  template <class Emit>
  INTERNET_MEMBER void background(int64_t column, int vectors, Emit emit) {
    V x = row_.x_of(column);
    for (int i = 0; i < vectors; ++i) {
      const auto& [gradient, total] = strip_[i];
      const V e = exponentials_[i * channels_];
      const V weight = math::kept_weight<thresholded>(e, total, p_.mixture.threshold);
      if (row_.has_background()) add_background(x, gradient.grad_motion(weight));
      emit(0, i, gradient.grad_logit(e, weight, row_.still(x)));
      x = x + row_.x_step();
    }
  }

  INTERNET_MEMBER void add_background(V x, const Point& grad_motion) {
    Point z;
    z.axis[0] = x;
    for (int axis = 1; axis < N; ++axis) z.axis[axis] = math::splat<V>(row_.z.axis[axis]);
    background_sums_.add_pull(math::from_homogeneous_vjp(row_.homogeneous(x), grad_motion), z);
  }

  // Along a row all coordinates but x are constant, and x grows by the same step from vector to vector. So
  // sums of w g x need no multiplications: the sum of w g, added up after every one of n vectors, has vector
  // i in it n - i times, and n - i is how many steps its x is short of the strip's end.
  template <int count, class Emit>
  INTERNET_MEMBER void anchors_from(int k, int64_t column, int vectors, Emit emit) {
    const V* exponentials = exponentials_.data() + k;
    math::SteppedMotion<S, N> motion[count];
    Point to[count], sum[count]{}, sum_of_sums[count]{};
    for (int j = 0; j < count; ++j) {
      motion[j] = row_.stepped_motion(k + j);
      to[j] = motion[j].row.at(row_.x_of(column));
    }
    for (int i = 0; i < vectors; ++i) {
      const auto& [gradient, total] = strip_[i];
      V grad_logit[count];
      for (int j = 0; j < count; ++j) {
        const V e = exponentials[i * channels_ + j];
        const V weight = math::kept_weight<thresholded>(e, total, p_.mixture.threshold);
        grad_logit[j] = gradient.grad_logit(e, weight, to[j]);
        for (int axis = 0; axis < N; ++axis) {
          sum[j].axis[axis] = sum[j].axis[axis] + weight * gradient.g.axis[axis];
          sum_of_sums[j].axis[axis] = sum_of_sums[j].axis[axis] + sum[j].axis[axis];
        }
        to[j] = motion[j].next(to[j]);
      }
      // last, because the compiler cannot rule out that this store overwrites what is read above
      for (int j = 0; j < count; ++j) emit(k + j, i, grad_logit[j]);
    }
    const V end = row_.x_of(column + vectors * lanes<T>);
    for (int j = 0; j < count; ++j) {
      math::Affine<V, N>& total = sums_[k - 1 + j];
      for (int axis = 0; axis < N; ++axis) {
        const V s = sum[j].axis[axis];
        total.offset[axis] += s;
        if (!p_.matrices) continue;
        total.matrix[axis][0] += end * s - row_.x_step() * sum_of_sums[j].axis[axis];
        for (int other = 1; other < N; ++other) total.matrix[axis][other] += row_.z.axis[other] * s;
      }
    }
  }

  const AffineMixtureBackward<T, N>& p_;
  int64_t anchors_, channels_, width_;
  Row<T, N> row_;
  const S* row_grad_ = nullptr;
  T* row_out_ = nullptr;
  Scratch<V> exponentials_;
  Scratch<PixelGradient> strip_;
  Block<T> grad_logits_;
  Scratch<math::Affine<V, N>> sums_;
  math::Projective<V, N> background_sums_;
};

}  // namespace

template <class T, int N>
void affine_mixture_backward(const AffineMixtureBackward<T, N>& p, int64_t begin, int64_t end) {
  FlushDenormals flush;
  auto groups = [&](auto rows) {
    for (int64_t task = begin; task < end; ++task) rows.group(task);
  };
  if (p.mixture.threshold > 0) {
    groups(BackwardRows<true, T, N>(p));
  } else {
    groups(BackwardRows<false, T, N>(p));
  }
}

INTERNET_INSTANTIATE_KERNEL_OF_AXES(affine_mixture_backward, AffineMixtureBackward)

}  // namespace internet::cpu::INTERNET_ISA
