// A vector of neighbouring pixels at a time: each logit is read once, its exponential kept in L1 for the
// second pass over the anchors, and nothing but the field (or the gradient) is written.
#include "../math/affine_mixture.h"

#include "../math/bilinear.h"
#include "affine_mixture.h"
#include "channel_tiles.h"
#include "denormals.h"

namespace internet::cpu::INTERNET_ISA {
namespace {

template <class T>
constexpr int lanes = native_lanes<T>;
template <class T>
using Pixels = Vec<opmath<T>, lanes<T>>;

// The logits of `count` pixels from column x on: straight from memory where they are neighbours, lane by lane
// otherwise (channels_last, a row's end). Lanes past `count` are 0.
template <class T>
INTERNET_HD Pixels<T> load_pixels(const T* p, int64_t stride, int count) {
  if (stride == 1 && count == lanes<T>) return load<lanes<T>>(p);
  Pixels<T> v{};
  for (int i = 0; i < count; ++i) v[i] = widen(p[i * stride]);
  return v;
}

template <class T>
INTERNET_HD void store_pixels(T* p, int64_t stride, int count, Pixels<T> v) {
  if (stride == 1 && count == lanes<T>) return store<lanes<T>>(p, v);
  for (int i = 0; i < count; ++i) p[i * stride] = narrow<T>(v[i]);
}

// The logits, or their gradients, of up to a vector of neighbouring pixels of a row: planes()[k] holds anchor
// k.
template <class T>
class Block {
 public:
  using V = Pixels<T>;

  INTERNET_MEMBER explicit Block(int64_t channels)
      : channels_(channels), planes_(channels), pixels_(packed()) {}

  INTERNET_MEMBER V* planes() const { return planes_.data(); }

  // `last`: nothing may be read past these pixels.
  INTERNET_MEMBER void load_from(const T* p, int64_t channel_stride, int64_t pixel_stride, int count,
                                 bool last) {
    if (is_dense(channel_stride, pixel_stride, count)) {
      if (last) p = static_cast<const T*>(std::memcpy(pixels_.data(), p, sizeof(T) * channels_ * count));
      return load_channels<T>(p, channels_, planes());
    }
    for (int64_t k = 0; k < channels_; ++k) {
      planes_[k] = load_pixels<T>(p + k * channel_stride, pixel_stride, count);
    }
  }

  INTERNET_MEMBER void store_to(T* p, int64_t channel_stride, int64_t pixel_stride, int count) const {
    if (is_dense(channel_stride, pixel_stride, count)) {
      store_channels<T>(planes(), channels_, pixels_.data());
      std::memcpy(p, pixels_.data(), sizeof(T) * channels_ * count);
      return;
    }
    for (int64_t k = 0; k < channels_; ++k) {
      store_pixels<T>(p + k * channel_stride, pixel_stride, count, planes_[k]);
    }
  }

 private:
  INTERNET_MEMBER int64_t packed() const { return channels_ * lanes<T> + lanes<T>; }
  INTERNET_MEMBER bool is_dense(int64_t channel_stride, int64_t pixel_stride, int count) const {
    return channel_stride == 1 && pixel_stride == channels_ && count == lanes<T>;
  }

  int64_t channels_;
  WorkingMemory<V> planes_;
  WorkingMemory<T> pixels_;
};

// What the rows of one image share, and the exponentials of the pixels at hand.
template <class T>
class Row {
 public:
  using S = opmath<T>;
  using V = Pixels<T>;

  INTERNET_MEMBER Row(int64_t anchors, int64_t height, int64_t width, bool align_corners)
      : anchors_(anchors),
        width_(width),
        x_start_(math::normalized_start(S(width), align_corners)),
        x_step_(math::normalized_step(S(width), align_corners)),
        y_start_(math::normalized_start(S(height), align_corners)),
        y_step_(math::normalized_step(S(height), align_corners)),
        motion_(anchors),
        block_(anchors + 1) {}

  INTERNET_MEMBER void begin(const math::Affine<S>* affine, int64_t row) {
    y = y_start_ + y_step_ * S(row);
    for (int64_t k = 0; k < anchors_; ++k) motion_[k] = affine[k].row(y);
  }

  INTERNET_MEMBER V x_of(int64_t column) const { return (iota<V>() + S(column)) * x_step_ + x_start_; }

  // exp(l_k - max l) of `count` pixels from `column` on; `logits` is the row's first.
  INTERNET_MEMBER void exponentiate(const T* logits, int64_t anchor_stride, int64_t pixel_stride,
                                    int64_t column, int count) {
    block_.load_from(logits + column * pixel_stride, anchor_stride, pixel_stride, count,
                     column + count == width_);
    V* e = block_.planes();
    V largest = e[0];
    for (int64_t k = 1; k <= anchors_; ++k) largest = math::larger(largest, e[k]);
    for (int64_t k = 0; k <= anchors_; ++k) e[k] = math::exp_of_nonpositive(V(e[k] - largest));
  }

  INTERNET_MEMBER auto motion() const {
    return [m = motion_.data()](int k) { return m[k - 1]; };
  }
  INTERNET_MEMBER auto exponential() const {
    return [e = block_.planes()](int k) { return e[k]; };
  }

  S y = 0;

 private:
  int64_t anchors_, width_;
  S x_start_, x_step_, y_start_, y_step_;
  WorkingMemory<math::RowMotion<S>> motion_;
  Block<T> block_;
};

// Pairs (x, y) side by side in memory, as in a field and its gradient.
template <class S, class V>
INTERNET_HD void store_pairs(S* p, int count, V x, V y) {
  constexpr int n = math::Value<V>::lanes;
  V low, high;
  interleave(x, y, low, high);
  if (count == n) {
    store<n>(p, low);
    store<n>(p + n, high);
  } else {
    for (int i = 0; i < count; ++i) p[2 * i] = x[i], p[2 * i + 1] = y[i];
  }
}
template <class S, class V>
INTERNET_HD void load_pairs(const S* p, int64_t pixel_stride, int64_t pair_stride, int count, V& x, V& y) {
  constexpr int n = math::Value<V>::lanes;
  if (pixel_stride == 2 && pair_stride == 1 && count == n) {
    deinterleave<V>(load<n>(p), load<n>(p + n), x, y);
  } else {
    x = y = V{};
    for (int i = 0; i < count; ++i) x[i] = p[i * pixel_stride], y[i] = p[i * pixel_stride + pair_stride];
  }
}

template <bool thresholded, class T>
INTERNET_HD void forward_rows(const AffineMixtureForward<T>& p, int64_t begin, int64_t end) {
  using V = Pixels<T>;
  Row<T> row(p.anchors, p.height, p.width, p.align_corners);
  const auto& stride = p.logits.stride;
  for (int64_t task = begin; task < end; ++task) {
    int64_t image = task / p.height, y = task % p.height;
    row.begin(p.affine + image * p.anchors, y);
    const T* logits = p.logits.data + image * stride[0] + y * stride[2];
    opmath<T>* field = p.field + task * p.width * 2;
    for (int64_t x = 0; x < p.width; x += lanes<T>) {
      int count = int(std::min<int64_t>(lanes<T>, p.width - x));
      row.exponentiate(logits, stride[1], stride[3], x, count);
      auto f = math::compose<thresholded, V>(int(p.anchors), row.exponential(), row.motion(), row.x_of(x),
                                             row.y, p.threshold);
      store_pairs(field + 2 * x, count, f.x, f.y);
    }
  }
}

// The gradient by one affine map, lane by lane: sums of w g, times 1, x and y.
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
        row_(p.anchors, p.height, p.width, p.align_corners),
        by_logits_(p.anchors + 1),
        row_sums_(p.anchors),
        sums_(p.anchors) {}

  INTERNET_MEMBER void group(int64_t task) {
    int64_t groups = (p_.height + rows_per_group - 1) / rows_per_group;
    int64_t image = task / groups, first = task % groups * rows_per_group;
    for (int64_t k = 0; k < p_.anchors; ++k) sums_[k] = AffineSums<V>{};
    for (int64_t y = first; y < std::min(first + rows_per_group, p_.height); ++y) one_row(image, y);
    for (int64_t k = 0; k < p_.anchors; ++k) p_.partials[task * p_.anchors + k] = total(sums_[k]);
  }

 private:
  // Along a row y is constant: only w g and w g x are summed by pixel, w g y once at the row's end.
  INTERNET_MEMBER void one_row(int64_t image, int64_t y) {
    row_.begin(p_.affine + image * p_.anchors, y);
    for (int64_t k = 0; k < p_.anchors; ++k) row_sums_[k] = AffineSums<V>{};
    for (int64_t x = 0; x < p_.width; x += lanes<T>) {
      pixels(image, y, x, int(std::min<int64_t>(lanes<T>, p_.width - x)));
    }
    for (int64_t k = 0; k < p_.anchors; ++k) {
      AffineSums<V>&total = sums_[k], &sum = row_sums_[k];
      total.xx += sum.xx;
      total.xy += sum.x * row_.y;
      total.x += sum.x;
      total.yx += sum.yx;
      total.yy += sum.y * row_.y;
      total.y += sum.y;
    }
  }

  INTERNET_MEMBER void pixels(int64_t image, int64_t y, int64_t column, int count) {
    const auto& stride = p_.logits.stride;
    const auto& by = p_.grad_logits.stride;
    row_.exponentiate(p_.logits.data + image * stride[0] + y * stride[2], stride[1], stride[3], column,
                      count);
    const auto& g = p_.grad_field.stride;
    const S* grad = p_.grad_field.data + image * g[0] + y * g[1] + column * g[2];
    V gx, gy;  // 0 past the row's end: those lanes add nothing
    load_pairs(grad, g[2], g[3], count, gx, gy);
    V x = row_.x_of(column);
    math::compose_vjp<thresholded, V>(int(p_.anchors), row_.exponential(), row_.motion(), x, row_.y,
                                      p_.threshold, gx, gy, [&](int k, V by_logit, V weight) {
                                        by_logits_.planes()[k] = by_logit;
                                        if (k == 0) return;
                                        AffineSums<V>& sum = row_sums_[k - 1];
                                        V wx = weight * gx, wy = weight * gy;
                                        sum.x += wx;
                                        sum.y += wy;
                                        sum.xx += wx * x;
                                        sum.yx += wy * x;
                                      });
    if (p_.grad_logits.data == nullptr) return;
    T* out = p_.grad_logits.data + image * by[0] + y * by[2] + column * by[3];
    by_logits_.store_to(out, by[1], by[3], count);
  }

  const AffineMixtureBackward<T>& p_;
  Row<T> row_;
  Block<T> by_logits_;
  WorkingMemory<AffineSums<V>> row_sums_, sums_;
};

}  // namespace

template <class T>
void affine_mixture_forward(const AffineMixtureForward<T>& p, int64_t begin, int64_t end) {
  FlushDenormals flush;
  p.threshold > 0 ? forward_rows<true, T>(p, begin, end) : forward_rows<false, T>(p, begin, end);
}

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

INTERNET_INSTANTIATE_KERNEL(affine_mixture_forward, AffineMixtureForward)
INTERNET_INSTANTIATE_KERNEL(affine_mixture_backward, AffineMixtureBackward)

}  // namespace internet::cpu::INTERNET_ISA
