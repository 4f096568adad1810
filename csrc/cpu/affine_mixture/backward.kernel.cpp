// The exponentials are computed once more, a strip of a row at a time, and stay in L1 while each anchor in
// turn passes over the strip: its sums then stay in registers.
#include "cpu/affine_mixture/rows.h"
#include "cpu/runtime/denormals.h"

namespace internet::cpu::INTERNET_ISA {
namespace {

// The gradient with respect to one affine map, lane by lane: sums of w g, times 1, x and y.
template <class V>
struct AffineSums {
  V xx, xy, x, yx, yy, y;
};

template <class V>
INTERNET_HD math::Affine<double> total(const AffineSums<V>& s) {
  constexpr int n = math::Value<V>::lanes;
  auto sum = [](V v) { return double(sum_of_lanes<n>(v)); };
  return {sum(s.xx), sum(s.xy), sum(s.yx), sum(s.yy), sum(s.x), sum(s.y)};
}

template <bool thresholded, class T>
class BackwardRows {
 public:
  using S = opmath<T>;
  using V = Pixels<T>;

  INTERNET_MEMBER explicit BackwardRows(const AffineMixtureBackward<T>& p)
      : p_(p),
        channels_(p.anchors + 1),
        row_(p.anchors, p.height, p.width, p.align_corners),
        exponentials_(strip_vectors * channels_),
        strip_(strip_vectors),
        grad_logits_(channels_, strip_vectors),
        sums_(p.anchors) {}

  INTERNET_MEMBER void group(int64_t task) {
    int64_t groups = (p_.height + rows_per_group - 1) / rows_per_group;
    int64_t image = task / groups, first = task % groups * rows_per_group;
    for (int64_t k = 0; k < p_.anchors; ++k) sums_[k] = AffineSums<V>{};
    for (int64_t y = first; y < std::min(first + rows_per_group, p_.height); ++y) one_row(image, y);
    for (int64_t k = 0; k < p_.anchors; ++k) p_.partials[task * p_.anchors + k] = total(sums_[k]);
  }

 private:
  static constexpr int n = vectors_at_once;
  static constexpr int strip_vectors = 8;

  // What a vector of pixels has for all anchors.
  struct PixelGradient {
    math::CompositionGradient<thresholded, V> gradient;
    V total;
  };

  INTERNET_MEMBER void one_row(int64_t image, int64_t y) {
    row_.begin(p_.affine + image * p_.anchors, y);
    for (int64_t x = 0; x < p_.width; x += strip_vectors * lanes<T>) strip(image, y, x);
  }

  INTERNET_MEMBER void strip(int64_t image, int64_t y, int64_t column) {
    const int64_t left = (p_.width - column + lanes<T> - 1) / lanes<T>;
    const int vectors = int(std::min<int64_t>(left, strip_vectors));
    for (int i = 0; i < vectors; i += n) compose(image, y, column, i);

    const auto& stride = p_.grad_logits.stride;
    T* out = p_.grad_logits.data;
    if (out != nullptr) out += image * stride[0] + y * stride[2] + column * stride[3];
    const bool dense = out != nullptr && stride[3] == 1 && column + vectors * lanes<T> <= p_.width;
    auto to_memory = [=](int k, int i, V v) {
      T* at = out + k * stride[1] + i * lanes<T>;
      __builtin_prefetch(at + stride[2], 0, 2);  // the next row: a store then waits for the L2 cache at most
      store<lanes<T>>(at, v);
    };
    auto to_planes = [&](int k, int i, V v) { grad_logits_.planes(i)[k] = v; };
    if (dense) return anchors(column, vectors, to_memory);
    anchors(column, vectors, to_planes);
    if (out == nullptr) return;
    for (int i = 0; i < vectors; ++i) {
      const int64_t first = i * lanes<T>;
      const int count = pixels_from<T>(column + first, p_.width);
      const bool last = column + first + 2 * lanes<T> > p_.width;
      grad_logits_.store_to(out + first * stride[3], i, stride[1], stride[3], count, last);
    }
  }

  INTERNET_MEMBER auto exponentials(int i) const {
    return [e = exponentials_.data() + i * channels_](int k) { return e[k]; };
  }

  // Vectors i.. of the strip: all that does not depend on the anchor.
  INTERNET_MEMBER void compose(int64_t image, int64_t y, int64_t column, int i) {
    const auto& stride = p_.logits.stride;
    const auto& g = p_.grad_field.stride;
    const T* logits = p_.logits.data + image * stride[0] + y * stride[2];
    const S* grad = p_.grad_field.data + image * g[0] + y * g[1];
    math::Composition<V> f[n];
    auto keep = [e = exponentials_.data() + i * channels_, channels = channels_](int k, int j, V value) {
      e[j * channels + k] = value;
    };
    row_.compose(logits, stride[1], stride[3], column + i * lanes<T>, keep, f);
    for (int j = 0; j < n; ++j) {
      const int64_t first = column + (i + j) * lanes<T>;
      const int anchors = int(p_.anchors);
      const V x = row_.x_of(first);
      V gx, gy;  // 0 past the row's end: those lanes add nothing
      load_pairs(grad + first * g[2], g[2], g[3], pixels_from<T>(first, p_.width), gx, gy);
      auto e = exponentials(i + j);
      if constexpr (thresholded) {
        f[j] = math::compose<true, V>(anchors, e, row_.motion(), x, row_.y, p_.threshold);
      }
      auto gradient = math::composition_gradient<thresholded>(f[j], anchors, e, row_.motion(), x, row_.y,
                                                              p_.threshold, gx, gy);
      strip_[i + j] = {gradient, f[j].total};
    }
  }

  // Two at a time share what a pixel has, and one computes while the other waits.
  template <class Emit>
  INTERNET_MEMBER void anchors(int64_t column, int vectors, Emit emit) {
    anchors_from<1>(0, column, vectors, emit);
    int k = 1;
    for (; k < p_.anchors; k += 2) anchors_from<2>(k, column, vectors, emit);
    if (k == p_.anchors) anchors_from<1>(k, column, vectors, emit);
  }

  // emit(k, i, v) takes the gradient with respect to logit k of vector i.
  //
  // Along a row y is constant, and x grows by the same step from vector to vector. So sums of w g x need no
  // multiplications: the sum of w g, added up after every one of n vectors, has vector i in it n - i times,
  // and n - i is how many steps its x is short of the strip's end.
  template <int count, class Emit>
  INTERNET_MEMBER void anchors_from(int k, int64_t column, int vectors, Emit emit) {
    using Pair = math::Point<V>;
    const V* exponentials = exponentials_.data() + k;
    math::SteppedMotion<S> motion[count];
    Pair to[count], sum[count]{}, sum_of_sums[count]{};
    for (int j = 0; j < count; ++j) {
      motion[j] = row_.stepped_motion(k + j);
      to[j] = motion[j].row.at(row_.x_of(column));
    }
    for (int i = 0; i < vectors; ++i) {
      const auto& [gradient, total] = strip_[i];
      V grad_logit[count];
      for (int j = 0; j < count; ++j) {
        const V e = exponentials[i * channels_ + j];
        const V weight = math::kept_weight<thresholded>(e, total, p_.threshold);
        grad_logit[j] = gradient.grad_logit(e, weight, to[j]);
        sum[j] = Pair{sum[j].x + weight * gradient.gx, sum[j].y + weight * gradient.gy};
        sum_of_sums[j] = Pair{sum_of_sums[j].x + sum[j].x, sum_of_sums[j].y + sum[j].y};
        to[j] = motion[j].next(to[j]);
      }
      // last: what it writes could be, for all the compiler knows, what was read above
      for (int j = 0; j < count; ++j) emit(k + j, i, grad_logit[j]);
    }
    if (k == 0) return;
    const V end = row_.x_of(column + vectors * lanes<T>);
    for (int j = 0; j < count; ++j) {
      AffineSums<V>& total = sums_[k - 1 + j];
      total.xx += end * sum[j].x - row_.x_step() * sum_of_sums[j].x;
      total.xy += row_.y * sum[j].x;
      total.x += sum[j].x;
      total.yx += end * sum[j].y - row_.x_step() * sum_of_sums[j].y;
      total.yy += row_.y * sum[j].y;
      total.y += sum[j].y;
    }
  }

  const AffineMixtureBackward<T>& p_;
  int64_t channels_;
  Row<T> row_;
  Scratch<V> exponentials_;
  Scratch<PixelGradient> strip_;
  Block<T> grad_logits_;
  Scratch<AffineSums<V>> sums_;
};

}  // namespace

template <class T>
void affine_mixture_backward(const AffineMixtureBackward<T>& p, int64_t begin, int64_t end) {
  FlushDenormals flush;
  auto groups = [&](auto rows) {
    for (int64_t task = begin; task < end; ++task) rows.group(task);
  };
  if (p.threshold > 0) {
    groups(BackwardRows<true, T>(p));
  } else {
    groups(BackwardRows<false, T>(p));
  }
}

INTERNET_INSTANTIATE_KERNEL(affine_mixture_backward, AffineMixtureBackward)

}  // namespace internet::cpu::INTERNET_ISA
