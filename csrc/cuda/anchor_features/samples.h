// Where the anchors' motions sample the source, and the values there.
#pragma once

#include "cuda/anchor_features/kernels.h"

namespace internet::cuda {

// The channels that are loaded together, so that their loads overlap: those of an RGB image; fewer for
// doubles and volumes, limited by the registers.
template <class T, int N>
constexpr int channels_at_once = sizeof(T) == 8 ? 1
                                 : N == 2       ? 3
                                                : 2;

// Where a sample reads the source.
template <class S, int N>
struct SourceSample {
  math::Axis<S> axes[N];
  bool reads;
};
template <class S, int N, int M>
INTERNET_HD SourceSample<S, N> source_sample(const math::Affine<S, N, M>& motion, const PixelGrid<S, N>& grid,
                                             const Position<S, N>& pixel) {
  math::Point<S, N> at;
  INTERNET_UNROLL
  for (int a = 0; a < N; ++a) at.axis[a] = S(pixel.index[N - 1 - a]);
  const math::Point<S, N> t = math::source_pixel<N>(motion.row(at), at.axis[0]);
  SourceSample<S, N> sample;
  INTERNET_UNROLL
  for (int a = 0; a < N; ++a) sample.axes[a] = math::axis(t.axis[a], S(grid.size[N - 1 - a]), false);
  sample.reads = math::reads_image<N>(sample.axes);
  return sample;
}
// For an anchor, or the background.
template <class P, class S, int N>
INTERNET_HD SourceSample<S, N> source_sample(const P& p, int64_t image, int anchor,
                                             const Position<S, N>& pixel) {
  if (anchor == 0 && p.backgrounds != nullptr) return source_sample(p.backgrounds[image], p.grid, pixel);
  return source_sample(p.motions[image * p.anchors + anchor].motion, p.grid, pixel);
}

// The pixels of a sample, as offsets in a channel; `stride`: of each axis, x first.
template <int N, class Index, class S>
INTERNET_HD math::Corners<Index, N> corners(const math::Axis<S>* axes, const Index* stride, Index first = 0) {
  const Index low = first + Index(axes[N - 1].low) * stride[N - 1];
  const Index high = first + Index(axes[N - 1].high) * stride[N - 1];
  if constexpr (N == 2) {
    const Index west = Index(axes[0].low) * stride[0], east = Index(axes[0].high) * stride[0];
    return {low + west, low + east, high + west, high + east};
  } else {
    return {corners<N - 1>(axes, stride, low), corners<N - 1>(axes, stride, high)};
  }
}
template <class T, class Index>
INTERNET_HD math::Corners<opmath<T>> read(const T* plane, const math::Corners<Index>& at) {
  return {widen(plane[at.nw]), widen(plane[at.ne]), widen(plane[at.sw]), widen(plane[at.se])};
}
template <class T, class Index, int N>
INTERNET_HD math::Corners<opmath<T>, N> read(const T* plane, const math::Corners<Index, N>& at) {
  return {read(plane, at.low), read(plane, at.high)};
}

// Calls visit(channel, its pixels) for every channel of a sample.
template <int N, class T, class Index, class Visit>
INTERNET_HD void each_channel(const T* image, Index channel_stride, int channels,
                              const math::Corners<Index, N>& at, Visit visit) {
  constexpr int n = channels_at_once<T, N>;
  for (int first = 0; first < channels; first += n) {
    math::Corners<opmath<T>, N> c[n];
#pragma unroll
    for (int i = 0; i < n; ++i) {
      if (first + i < channels) c[i] = read(image + (first + i) * channel_stride, at);
    }
#pragma unroll
    for (int i = 0; i < n; ++i) {
      if (first + i < channels) visit(first + i, c[i]);
    }
  }
}
template <int N, class Index, class T, class Visit>
INTERNET_HD void each_channel(const Strided<const T, N + 2>& source, int64_t image, int channels,
                              const SourceSample<opmath<T>, N>& sample, Visit visit) {
  Index stride[N];
  INTERNET_UNROLL
  for (int a = 0; a < N; ++a) stride[a] = Index(source.stride[N + 1 - a]);
  each_channel<N>(source.data + image * source.stride[0], Index(source.stride[1]), channels,
                  corners<N>(sample.axes, stride), visit);
}

}  // namespace internet::cuda
