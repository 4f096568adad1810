// Each logit is read once, and nothing but the field is written.
#include "cpu/affine_mixture/rows.h"
#include "cpu/runtime/denormals.h"

namespace internet::cpu::INTERNET_ISA {
namespace {

template <bool thresholded, class T, int N>
INTERNET_HD void forward_rows(const AffineMixtureForward<T, N>& p, int64_t begin, int64_t end) {
  using V = Pixels<T>;
  constexpr int n = vectors_at_once;
  const AffineMixture<T, N>& m = p.mixture;
  const int64_t channels = m.anchors + 1, width = m.width();
  Row<T, N> row(m);
  Scratch<V> exponentials(n * channels);
  auto keep = [&](int k, int i, V e) {
    if constexpr (thresholded) exponentials[i * channels + k] = e;
  };
  for (int64_t task = begin; task < end; ++task) {
    row.begin(task / m.rows(), task % m.rows());
    opmath<T>* field = p.field + task * width * N;
    for (int64_t column = 0; column < width; column += n * lanes<T>) {
      math::Composition<V, N> f[n];
      row.template compose<thresholded>(column, keep, f);
      for (int i = 0; i < n; ++i) {
        const int64_t first = column + i * lanes<T>;
        if constexpr (thresholded) {
          auto exponential = [e = &exponentials[i * channels]](int k) { return e[k]; };
          const V x = row.x_of(first);
          f[i] = math::compose<true>(int(m.anchors), exponential, row.motion(), row.still(x), x, m.threshold);
        }
        store_points(field + N * first, pixels_from<T>(first, width), f[i].field);
      }
    }
  }
}

}  // namespace

template <class T, int N>
void affine_mixture_forward(const AffineMixtureForward<T, N>& p, int64_t begin, int64_t end) {
  FlushDenormals flush;
  p.mixture.threshold > 0 ? forward_rows<true>(p, begin, end) : forward_rows<false>(p, begin, end);
}

INTERNET_INSTANTIATE_KERNEL_OF_AXES(affine_mixture_forward, AffineMixtureForward)

}  // namespace internet::cpu::INTERNET_ISA
