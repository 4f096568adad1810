// Where the anchors' motions sample the source, and the values there.
#pragma once

#include "cuda/anchor_features/kernels.h"
#include "cuda/runtime/vectors.h"

namespace internet::cuda {

// Where a sample reads the source.
template <class S, int N>
struct SourceSample {
  math::Axis<S> axes[N];
  bool reads;
};
// x: the coordinate along the walk, or row, in pixels.
template <int N, class S, int m>
INTERNET_HD SourceSample<S, N> source_sample(const math::RowMotion<S, m>& motion, S x,
                                             const PixelGrid<S, N>& grid) {
  const math::Point<S, N> t = math::source_pixel<N>(motion, x);
  SourceSample<S, N> sample;
  INTERNET_UNROLL
  for (int a = 0; a < N; ++a) sample.axes[a] = math::axis(t.axis[a], S(grid.size[N - 1 - a]), false);
  sample.reads = math::reads_image<N>(sample.axes);
  return sample;
}
// The pixels of a sample, counted through the image; `stride`: of each axis, x first.
template <int N, class Index, class S>
INTERNET_HD math::Corners<Index, N> corners(const math::Axis<S>* axes, const Index* stride, Index first = 0) {
  const math::Axis<S>& last = axes[N - 1];
  const Index low = first + Index(last.low) * stride[N - 1];
  const Index high = last.high > last.low ? low + stride[N - 1] : low;
  if constexpr (N == 2) {
    const Index west = Index(axes[0].low), east = axes[0].high > axes[0].low ? west + 1 : west;
    return {low + west, low + east, high + west, high + east};
  } else {
    return {corners<N - 1>(axes, stride, low), corners<N - 1>(axes, stride, high)};
  }
}
template <class Index, class S, int N>
INTERNET_HD math::Corners<Index, N> corners(const SourceSample<S, N>& sample, const PixelGrid<S, N>& grid) {
  Index stride[N] = {1};
  INTERNET_UNROLL
  for (int a = 1; a < N; ++a) stride[a] = stride[a - 1] * Index(grid.size[N - a]);
  return corners<N>(sample.axes, stride);
}

// Packs of channels at the pixels of a sample, whose loads overlap.
template <class T>
using SourcePack = Loaded<T, channels_of_a_pack<T>>;
template <class T>
using SourceValues = Values<opmath<T>, channels_of_a_pack<T>>;

template <class T, class Index>
__device__ __forceinline__ math::Corners<SourcePack<T>> read(const T* packs, const math::Corners<Index>& at) {
  constexpr int n = channels_of_a_pack<T>;
  auto pack = [&](Index pixel) {
    return load_packed<n>(reinterpret_cast<const Pack<T, n>*>(packs)[pixel].value);
  };
  return {pack(at.nw), pack(at.ne), pack(at.sw), pack(at.se)};
}
template <class T, class Index, int N>
__device__ __forceinline__ math::Corners<SourcePack<T>, N> read(const T* packs,
                                                                const math::Corners<Index, N>& at) {
  return {read(packs, at.low), read(packs, at.high)};
}

// sum += weights * packs.
template <class T>
__device__ __forceinline__ void add_weighted(SourceValues<T>& sum, const math::Corners<opmath<T>>& weights,
                                             const math::Corners<SourcePack<T>>& packs) {
  sum.add(weights.nw, widen(packs.nw));
  sum.add(weights.ne, widen(packs.ne));
  sum.add(weights.sw, widen(packs.sw));
  sum.add(weights.se, widen(packs.se));
}
template <class T, int N>
__device__ __forceinline__ void add_weighted(SourceValues<T>& sum, const math::Corners<opmath<T>, N>& weights,
                                             const math::Corners<SourcePack<T>, N>& packs) {
  add_weighted<T>(sum, weights.low, packs.low);
  add_weighted<T>(sum, weights.high, packs.high);
}

// sums += the dot products of the packs with g.
template <class T>
__device__ __forceinline__ void add_dots(math::Corners<opmath<T>>& sums, const SourceValues<T>& g,
                                         const math::Corners<SourcePack<T>>& packs) {
  sums.nw += widen(packs.nw).dot(g);
  sums.ne += widen(packs.ne).dot(g);
  sums.sw += widen(packs.sw).dot(g);
  sums.se += widen(packs.se).dot(g);
}
template <class T, int N>
__device__ __forceinline__ void add_dots(math::Corners<opmath<T>, N>& sums, const SourceValues<T>& g,
                                         const math::Corners<SourcePack<T>, N>& packs) {
  add_dots<T>(sums.low, g, packs.low);
  add_dots<T>(sums.high, g, packs.high);
}

}  // namespace internet::cuda
