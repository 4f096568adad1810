// Each logit is read once, and nothing but the field is written.
#include "cpu/affine_mixture/rows.h"
#include "cpu/runtime/denormals.h"

namespace internet::cpu::INTERNET_ISA {
namespace {

template <bool thresholded, class T>
INTERNET_HD void forward_rows(const AffineMixtureForward<T>& p, int64_t begin, int64_t end) {
  using V = Pixels<T>;
  constexpr int n = vectors_at_once;
  const int64_t channels = p.anchors + 1;
  Row<T> row(p.anchors, p.height, p.width, p.align_corners);
  Scratch<V> exponentials(n * channels);
  auto keep = [&](int k, int i, V e) {
    if constexpr (thresholded) exponentials[i * channels + k] = e;
  };
  const auto& stride = p.logits.stride;
  for (int64_t task = begin; task < end; ++task) {
    int64_t image = task / p.height, y = task % p.height;
    row.begin(p.affine + image * p.anchors, y);
    const T* logits = p.logits.data + image * stride[0] + y * stride[2];
    opmath<T>* field = p.field + task * p.width * 2;
    for (int64_t column = 0; column < p.width; column += n * lanes<T>) {
      math::Composition<V> f[n];
      row.compose(logits, stride[1], stride[3], column, keep, f);
      for (int i = 0; i < n; ++i) {
        const int64_t x = column + i * lanes<T>;
        if constexpr (thresholded) {
          auto exponential = [e = &exponentials[i * channels]](int k) { return e[k]; };
          f[i] = math::compose<true, V>(int(p.anchors), exponential, row.motion(), row.x_of(x), row.y,
                                        p.threshold);
        }
        store_pairs(field + 2 * x, pixels_from<T>(x, p.width), f[i].x, f[i].y);
      }
    }
  }
}

}  // namespace

template <class T>
void affine_mixture_forward(const AffineMixtureForward<T>& p, int64_t begin, int64_t end) {
  FlushDenormals flush;
  p.threshold > 0 ? forward_rows<true, T>(p, begin, end) : forward_rows<false, T>(p, begin, end);
}

INTERNET_INSTANTIATE_KERNEL(affine_mixture_forward, AffineMixtureForward)

}  // namespace internet::cpu::INTERNET_ISA
