#include <cstring>

#include "confidence_warp.h"
#include "denormals.h"
#include "plane_tiles.h"
#include "sample_row.h"
#include "warp_bands.h"

namespace internet::cpu::INTERNET_ISA {
namespace {

// The sums over the lanes of a, b, c and d, side by side.
template <class S, int N>
INTERNET_HD Vec<S, 4> four_sums(Vec<S, N> a, Vec<S, N> b, Vec<S, N> c, Vec<S, N> d) {
  if constexpr (N > 4) {
    using Half = Vec<S, N / 2>;
    Half halves[4][2];
    std::memcpy(halves[0], &a, sizeof(a));
    std::memcpy(halves[1], &b, sizeof(b));
    std::memcpy(halves[2], &c, sizeof(c));
    std::memcpy(halves[3], &d, sizeof(d));
    return four_sums<S, N / 2>(halves[0][0] + halves[0][1], halves[1][0] + halves[1][1],
                               halves[2][0] + halves[2][1], halves[3][0] + halves[3][1]);
  } else if constexpr (N == 4) {
    const Vec<S, 4> ab =
        __builtin_shufflevector(a, b, 0, 4, 1, 5) + __builtin_shufflevector(a, b, 2, 6, 3, 7);
    const Vec<S, 4> cd =
        __builtin_shufflevector(c, d, 0, 4, 1, 5) + __builtin_shufflevector(c, d, 2, 6, 3, 7);
    return __builtin_shufflevector(ab, cd, 0, 1, 4, 5) + __builtin_shufflevector(ab, cd, 2, 3, 6, 7);
  } else {
    return Vec<S, 4>{a[0] + a[1], b[0] + b[1], c[0] + c[1], d[0] + d[1]};
  }
}

// The four pixels of a sample: pointers to their first channels.
template <class S>
struct Four {
  S *nw, *ne, *sw, *se;
};
template <class S>
INTERNET_HD Four<S> four(S* north, S* south, int64_t west, int64_t east) {
  return {north + west, north + east, south + west, south + east};
}

// N channels from k on: adds g * pixel to the four dot products.
template <int N, class S>
INTERNET_HD void add_dots(Vec<S, N> g, Four<const S> f, int64_t k, math::Corners<Vec<S, N>>& dots) {
  dots.nw += g * load<N>(f.nw + k);
  dots.ne += g * load<N>(f.ne + k);
  dots.sw += g * load<N>(f.sw + k);
  dots.se += g * load<N>(f.se + k);
}

// N channels from k on: adds weight * g to the four pixels' gradients. At the border some of the four are
// the same pixel, so each is stored before the next is read.
template <int N, class S>
INTERNET_HD void scatter(Vec<S, N> g, Four<S> f, int64_t k, const math::Corners<S>& w) {
  store<N>(f.nw + k, load<N>(f.nw + k) + w.nw * g);
  store<N>(f.ne + k, load<N>(f.ne + k) + w.ne * g);
  store<N>(f.sw + k, load<N>(f.sw + k) + w.sw * g);
  store<N>(f.se + k, load<N>(f.se + k) + w.se * g);
}

template <class S>
INTERNET_HD math::Corners<S> weights(const Samples<S>& s, int64_t x) {
  return {s.nw[x], s.ne[x], s.sw[x], s.se[x]};
}

// One output pixel with its channels side by side; dots and to are used if asked for.
template <bool Features, bool Motion, class S>
INTERNET_HD void pixel_backward(const S* g, Four<const S> from, Four<S> to, int64_t channels,
                                math::Corners<S> w, S* dots) {
  constexpr int N = native_lanes<S>;
  math::Corners<Vec<S, N>> sums{};
  math::Corners<S> rest{};
  int64_t k = 0;
  for (; k + N <= channels; k += N) {
    const Vec<S, N> v = load<N>(g + k);
    if constexpr (Motion) add_dots<N, S>(v, from, k, sums);
    if constexpr (Features) scatter<N, S>(v, to, k, w);
  }
  for (; k < channels; ++k) {
    if constexpr (Motion) {
      rest.nw += g[k] * from.nw[k];
      rest.ne += g[k] * from.ne[k];
      rest.sw += g[k] * from.sw[k];
      rest.se += g[k] * from.se[k];
    }
    if constexpr (Features) {
      to.nw[k] += w.nw * g[k];
      to.ne[k] += w.ne * g[k];
      to.sw[k] += w.sw * g[k];
      to.se[k] += w.se * g[k];
    }
  }
  if constexpr (Motion) {
    const Vec<S, 4> tail = {rest.nw, rest.ne, rest.sw, rest.se};
    store<4>(dots, four_sums<S, N>(sums.nw, sums.ne, sums.sw, sums.se) + tail);
  }
}

// Output pixels that read a row of the band: those whose upper row is in it, or is the row above it.
INTERNET_HD Band reading(Band band) { return {band.begin - 1, band.end}; }

template <bool Features, bool Motion, class T>
void pixels_band(const ConfidenceWarpBackward<T>& p, SampleRow<T>& samples, int64_t image, Band band,
                 T* unwanted) {
  const int64_t height = p.motion.height, width = p.motion.width, channels = p.channels;
  const Samples<T> s = samples;
  const Strided<const T, 4>&in = p.features, &grad = p.grad_output;
  const Strided<T, 4>& out = p.grad_features;
  const T* source = in.data + image * in.stride[0];
  T* target = Features ? out.data + image * out.stride[0] : nullptr;
  // Rows of the gradient are zeroed just before they are first added to, while they are in the cache.
  int64_t zeroed = band.begin;
  auto zero_until = [&](int64_t end) {
    for (; Features && zeroed < end; ++zeroed) {
      for (int64_t x = 0; x < width; ++x) {
        T* pixel = target + zeroed * out.stride[2] + x * out.stride[3];
        for (int64_t k = 0; k < channels; ++k) pixel[k] = 0;
      }
    }
  };
  auto row_or_unwanted = [&](int64_t y, int64_t column) {
    return y >= band.begin && y < band.end ? target + y * out.stride[2] + column : unwanted;
  };
  const int32_t* ranges = p.row_ranges + 2 * image * height;
  for (int64_t row = 0; row < height; ++row) {
    if (ranges[2 * row] >= band.end || ranges[2 * row + 1] < band.begin) continue;
    zero_until(std::min<int64_t>(ranges[2 * row + 1] + 1, band.end));
    samples.prepare(image, row);
    const T* g = grad.data + image * grad.stride[0] + row * grad.stride[2];
    T* dots = Motion ? p.dots + (image * height + row) * width * 4 : nullptr;
    for_each_run(s.y_low, width, reading(band), [&](int64_t begin, int64_t end) {
      for (int64_t x = begin; x < end; ++x) {
        const bool own = s.y_low[x] >= band.begin;  // exactly one band owns the pixel's dot products
        if (!s.reads[x]) {
          if (Motion && own) store<4>(dots + 4 * x, Vec<T, 4>{});
          continue;
        }
        const T *north = source + s.y_low[x] * in.stride[2], *south = source + s.y_high[x] * in.stride[2];
        const auto from = four(north, south, s.x_low[x] * in.stride[3], s.x_high[x] * in.stride[3]);
        Four<T> to{};
        if (Features) {
          const int64_t west = s.x_low[x] * out.stride[3], east = s.x_high[x] * out.stride[3];
          to = {row_or_unwanted(s.y_low[x], west), row_or_unwanted(s.y_low[x], east),
                row_or_unwanted(s.y_high[x], west), row_or_unwanted(s.y_high[x], east)};
        }
        const T* gradient = g + x * grad.stride[3];
        if (own) {
          pixel_backward<Features, Motion>(gradient, from, to, channels, weights(s, x), dots + 4 * x);
        } else if constexpr (Features) {
          pixel_backward<true, false, T>(gradient, from, to, channels, weights(s, x), nullptr);
        }
      }
    });
  }
  zero_until(band.end);
}

// K channels of one band, in scratch memory: `source` and `target` hold its rows with one above and one
// below (of the source, the one above is never read), `pixels` a row of the output's gradient.
template <int K, class T>
void planes_block(const ConfidenceWarpBackward<T>& p, SampleRow<opmath<T>>& samples, int64_t image,
                  int64_t first_channel, Band band, opmath<T>* source, opmath<T>* target, opmath<T>* pixels) {
  using S = opmath<T>;
  using V = Vec<S, K>;
  const bool features = p.grad_features.data != nullptr, motion = p.dots != nullptr;
  const int64_t height = p.motion.height, width = p.motion.width;
  const Samples<S> s = samples;
  const int64_t channels = std::min<int64_t>(K, p.channels - first_channel);
  const Strided<const T, 4>&in = p.features, &grad = p.grad_output;
  const int64_t above = band.begin - 1;
  if (motion) {
    const T* planes = in.data + image * in.stride[0] + first_channel * in.stride[1];
    for (int64_t y = band.begin; y < std::min(band.end + 1, height); ++y) {
      planes_to_pixels<K>(planes + y * in.stride[2], in.stride[1], in.stride[3], channels, width,
                          source + (y - above) * width * K);
    }
  }
  if (features) {
    const int64_t count = (band.end - band.begin + 2) * width * K;
    for (int64_t i = 0; i < count; ++i) target[i] = 0;
  }
  const int32_t* ranges = p.row_ranges + 2 * image * height;
  for (int64_t row = 0; row < height; ++row) {
    if (ranges[2 * row] >= band.end || ranges[2 * row + 1] < band.begin) continue;
    samples.prepare(image, row);
    const T* g = grad.data + image * grad.stride[0] + first_channel * grad.stride[1] + row * grad.stride[2];
    S* dots = motion ? p.dots + (image * height + row) * width * 4 : nullptr;
    for_each_run(s.y_low, width, features ? reading(band) : band, [&](int64_t begin, int64_t end) {
      const int64_t from = begin / 16 * 16;  // read whole cache lines
      planes_to_pixels<K>(g + from * grad.stride[3], grad.stride[1], grad.stride[3], channels, end - from,
                          pixels + from * K);
      for (int64_t x = begin; x < end; ++x) {
        const bool own = motion && s.y_low[x] >= band.begin;
        const int64_t north = (s.y_low[x] - above) * width, south = (s.y_high[x] - above) * width;
        const int64_t nw = (north + s.x_low[x]) * K, ne = (north + s.x_high[x]) * K;
        const int64_t sw = (south + s.x_low[x]) * K, se = (south + s.x_high[x]) * K;
        const V v = load<K>(pixels + x * K);
        if (own) {
          Vec<S, 4> sums{};
          if (s.reads[x]) {
            math::Corners<V> d{};
            add_dots<K, S>(v, {source + nw, source + ne, source + sw, source + se}, 0, d);
            sums = four_sums<S, K>(d.nw, d.ne, d.sw, d.se);
          }
          if (first_channel > 0) sums += load<4>(dots + 4 * x);
          store<4>(dots + 4 * x, sums);
        }
        if (features && s.reads[x]) {
          scatter<K, S>(v, {target + nw, target + ne, target + sw, target + se}, 0, weights(s, x));
        }
      }
    });
  }
  if (features) {
    T* planes =
        p.grad_features.data + image * p.grad_features.stride[0] + first_channel * p.grad_features.stride[1];
    for (int64_t y = band.begin; y < band.end; ++y) {
      pixels_to_planes<K>(target + (y - above) * width * K, width, channels,
                          planes + y * p.grad_features.stride[2], p.grad_features.stride[1],
                          p.grad_features.stride[3], 0);
    }
  }
}

template <class T>
void planes_bands(const ConfidenceWarpBackward<T>& p, int64_t begin, int64_t end) {
  using S = opmath<T>;
  const bool features = p.grad_features.data != nullptr, motion = p.dots != nullptr;
  SampleRow<S> samples(p.motion);
  const int64_t K = warp_block_channels(p.channels);
  const int64_t pixels = (most_rows(p.motion.height, p.bands) + 2) * p.motion.width;
  WorkingMemory<S> source(motion ? pixels * K : 0), target(features ? pixels * K : 0),
      row(p.motion.width * K);
  for (int64_t task = begin; task < end; ++task) {
    const int64_t image = task / p.bands;
    const Band band = band_of(task % p.bands, p.motion.height, p.bands);
    // Blocks in their order: each adds its share to the dot products.
    for (int64_t c = 0; c < p.channels; c += K) {
      if (K == 16) {
        planes_block<16>(p, samples, image, c, band, source.data(), target.data(), row.data());
      } else {
        planes_block<4>(p, samples, image, c, band, source.data(), target.data(), row.data());
      }
    }
  }
}

template <bool Features, bool Motion, class T>
void pixels_bands(const ConfidenceWarpBackward<T>& p, int64_t begin, int64_t end) {
  SampleRow<T> samples(p.motion);
  WorkingMemory<T> unwanted(p.channels);
  for (int64_t k = 0; k < p.channels; ++k) unwanted.data()[k] = 0;
  for (int64_t task = begin; task < end; ++task) {
    const Band band = band_of(task % p.bands, p.motion.height, p.bands);
    pixels_band<Features, Motion>(p, samples, task / p.bands, band, unwanted.data());
  }
}

}  // namespace

template <class T>
void warp_pixels_backward(const ConfidenceWarpBackward<T>& p, int64_t begin, int64_t end) {
  FlushDenormals flush;
  const bool features = p.grad_features.data != nullptr, motion = p.dots != nullptr;
  if (features && motion) pixels_bands<true, true>(p, begin, end);
  if (features && !motion) pixels_bands<true, false>(p, begin, end);
  if (!features && motion) pixels_bands<false, true>(p, begin, end);
}

template <class T>
void warp_planes_backward(const ConfidenceWarpBackward<T>& p, int64_t begin, int64_t end) {
  FlushDenormals flush;
  planes_bands(p, begin, end);
}

template <class S>
void warp_motion_gradient(const MotionBackward<S>& p, int64_t begin, int64_t end) {
  FlushDenormals flush;
  const int64_t width = p.motion.width;
  SampleRow<S> samples(p.motion);
  WorkingMemory<S> dots(4 * width);
  for (int64_t task = begin; task < end; ++task) {
    S* row = p.dots + task * 4 * width;
    std::memcpy(dots.data(), row, size_t(4 * width) * sizeof(S));
    samples.motion_gradients(task / p.motion.height, task % p.motion.height, dots.data(), row, row + width,
                             row + 2 * width);
  }
}

template <class S>
void warp_motion_fold(const MotionBackward<S>& p, int64_t begin, int64_t end) {
  FlushDenormals flush;
  const int64_t ratio = p.motion.ratio, height = p.motion.height / ratio, width = p.motion.width / ratio;
  WorkingMemory<S> scratch(p.motion.width);
  for (int64_t task = begin; task < end; ++task) {
    const int64_t image = task / height, row = task % height;
    const S* planes = p.dots + image * p.motion.height * 4 * p.motion.width;
    auto fold = [&](int64_t plane, S* coarse, int64_t step) {
      for (int64_t x = 0; x < width && !p.accumulate; ++x) coarse[x * step] = 0;
      fold_row(planes + plane * p.motion.width, 4 * p.motion.width, ratio, height, width, row, scratch.data(),
               coarse, step);
    };
    fold(0, p.grad_flow + task * width * 2, 2);
    fold(1, p.grad_flow + task * width * 2 + 1, 2);
    if (p.grad_confidence != nullptr) fold(2, p.grad_confidence + task * width, 1);
  }
}

template void warp_pixels_backward<float>(const ConfidenceWarpBackward<float>&, int64_t, int64_t);
template void warp_pixels_backward<double>(const ConfidenceWarpBackward<double>&, int64_t, int64_t);
template void warp_motion_gradient<float>(const MotionBackward<float>&, int64_t, int64_t);
template void warp_motion_gradient<double>(const MotionBackward<double>&, int64_t, int64_t);
template void warp_motion_fold<float>(const MotionBackward<float>&, int64_t, int64_t);
template void warp_motion_fold<double>(const MotionBackward<double>&, int64_t, int64_t);
INTERNET_INSTANTIATE_KERNEL(warp_planes_backward, ConfidenceWarpBackward)

}  // namespace internet::cpu::INTERNET_ISA
