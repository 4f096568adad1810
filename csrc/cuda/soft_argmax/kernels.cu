// Neighbouring threads do what lies side by side in memory: pixels of one heat map (contiguous), a run of
// four each where rows allow, or anchors of one pixel (channels_last). A run, or the four numbers of a map's
// pixel where they are neighbours, come in one load.
//
// Forward, a thread sums up pixels relative to the largest logit it has met, and rescales when it meets a
// larger one: one pass. Threads of an anchor are then brought to their common largest, within a block through
// shared memory, among the blocks of a heat map in a second kernel: few heat maps fill a GPU all the same.
// All in a fixed order: no atomics, the same bits every time. Backward, a thread knows all it needs.
#include "cuda/runtime/launch.h"
#include "cuda/runtime/warp_sum.h"
#include "cuda/soft_argmax/kernels.h"
#include "math/soft_argmax.h"

namespace internet::cuda {
namespace {

constexpr int block_threads = 256;
// A pixel of a volume has nine numbers of a map: runs of them would not fit the registers.
template <int N>
constexpr int longest_run = N == 2 ? 4 : 1;
constexpr int pixels_of_a_thread = 8;  // forward
constexpr int most_columns = 32;
// Of blocks that a multiprocessor holds at once: the registers must do for as many.
template <class T>
constexpr int forward_blocks = sizeof(T) == 8 ? 1 : 3;
template <class T>
constexpr int backward_blocks = sizeof(T) == 8 ? 1 : 2;

// How a block's threads share the work: `columns` neighbours have an anchor each, and pixels in common; each
// of the lanes then has runs of `run` neighbouring pixels of a row, which is whole runs.
struct Arrangement {
  int columns, lanes, run;
};

template <class T, int N>
INTERNET_HD Arrangement arrange(const HeatMaps<T, N>& in, bool anchors_in_turn) {
  const bool side_by_side = in.logits.stride[1] < in.logits.stride[4] && in.anchors > 1;
  int columns = 1;
  if (side_by_side && !anchors_in_turn) columns = in.anchors < most_columns ? int(in.anchors) : most_columns;
  const bool runs = columns == 1 && in.grid.width() % longest_run<N> == 0;
  return {columns, block_threads / columns, runs ? longest_run<N> : 1};
}

INTERNET_HD int64_t parts(int64_t size, int64_t part) { return (size + part - 1) / part; }

// The first pixel of a run; rows are counted through the slices.
struct Place {
  int64_t row, column;

  INTERNET_MEMBER Place(int64_t pixel, int64_t width) : row(pixel / width), column(pixel - row * width) {}
  INTERNET_MEMBER void advance(int64_t pixels, int64_t width) {
    column += pixels;
    while (column >= width) {
      column -= width;
      ++row;
    }
  }
};

// A row, by its slice and its number there.
struct SliceRow {
  int64_t slice, row;
};
template <class T, int N>
INTERNET_HD SliceRow slice_row(const HeatMaps<T, N>& in, const Place& at) {
  if constexpr (N == 2) {
    return {0, at.row};
  } else {
    const int64_t slice = at.row / in.grid.height();
    return {slice, at.row - slice * in.grid.height()};
  }
}

// The coordinates of the pixels of a run: of its first pixel, x; and those of its row, y and z.
template <class S, int N>
struct RunCoordinates {
  S x_start, x_step, of_row[N - 1];

  INTERNET_MEMBER S x(int i) const { return S(i) * x_step + x_start; }
};

INTERNET_HD bool is_multiple(const void* data, size_t bytes) {
  return reinterpret_cast<uintptr_t>(data) % bytes == 0;
}

// Four values at once, as numbers of the type they are computed in.
template <class T>
INTERNET_HD void load_four(const T* from, opmath<T> (&value)[4]) {
  const auto v = *reinterpret_cast<const Four<T>*>(from);
  value[0] = widen(v.first);
  value[1] = widen(v.second);
  value[2] = widen(v.third);
  value[3] = widen(v.fourth);
}
template <class T>
INTERNET_HD void store_four(T* to, const opmath<T> (&value)[4]) {
  *reinterpret_cast<Four<T>*>(to) = {narrow<T>(value[0]), narrow<T>(value[1]), narrow<T>(value[2]),
                                     narrow<T>(value[3])};
}

// A run of something that has a number for each pixel.
template <int run, class U>
struct Line {
  using T = std::remove_const_t<U>;
  using S = opmath<T>;
  U* first;
  int64_t column_stride;

  INTERNET_MEMBER bool as_four() const {
    return run == 4 && column_stride == 1 && is_multiple(first, sizeof(Four<T>));
  }
  INTERNET_MEMBER void load(S (&value)[run]) const {
    if constexpr (run == 4) {
      if (as_four()) return load_four(first, value);
    }
#pragma unroll
    for (int i = 0; i < run; ++i) value[i] = widen(first[i * column_stride]);
  }
  INTERNET_MEMBER void store(const S (&value)[run]) const {
    if constexpr (run == 4) {
      if (as_four()) return store_four(first, value);
    }
#pragma unroll
    for (int i = 0; i < run; ++i) first[i * column_stride] = narrow<T>(value[i]);
  }
};

template <int run, class U, class T, int N>
INTERNET_HD Line<run, U> line(const HeatMaps<T, N>& in, const Strided<U, 5>& logits, int64_t image,
                              int64_t anchor, const Place& at) {
  const auto& s = logits.stride;
  const SliceRow row = slice_row(in, at);
  return {logits.data + image * s[0] + anchor * s[1] + row.slice * s[2] + row.row * s[3] + at.column * s[4],
          s[4]};
}

// A run of a Jacobian map: an N x N matrix for each pixel.
template <int run, class U, int N>
struct MapLine {
  static constexpr int entries = N * N;
  using T = std::remove_const_t<U>;
  using S = opmath<T>;
  U* first;
  int64_t component_stride, column_stride;

  INTERNET_MEMBER bool as_four() const {
    return run == 1 && entries == 4 && component_stride == 1 && is_multiple(first, sizeof(Four<T>));
  }
  INTERNET_MEMBER Line<run, U> component(int c) const {
    return {first + c * component_stride, column_stride};
  }

  INTERNET_MEMBER void load(S (&value)[run][entries]) const {
    if constexpr (run == 1 && entries == 4) {
      if (as_four()) return load_four(first, value[0]);
    }
#pragma unroll
    for (int c = 0; c < entries; ++c) {
      S numbers[run];
      component(c).load(numbers);
#pragma unroll
      for (int i = 0; i < run; ++i) value[i][c] = numbers[i];
    }
  }
  INTERNET_MEMBER void store(const S (&value)[run][entries]) const {
    if constexpr (run == 1 && entries == 4) {
      if (as_four()) return store_four(first, value[0]);
    }
#pragma unroll
    for (int c = 0; c < entries; ++c) {
      S numbers[run];
#pragma unroll
      for (int i = 0; i < run; ++i) numbers[i] = value[i][c];
      component(c).store(numbers);
    }
  }
};

template <int run, class U, class T, int N>
INTERNET_HD MapLine<run, U, N> line(const HeatMaps<T, N>& in, const Strided<U, 6>& map, int64_t image,
                                    int64_t anchor, const Place& at) {
  const auto& s = map.stride;
  const SliceRow row = slice_row(in, at);
  return {map.data + image * s[0] + anchor * s[1] + row.slice * s[3] + row.row * s[4] + at.column * s[5],
          s[2], s[5]};
}

template <class T, int N>
INTERNET_HD RunCoordinates<opmath<T>, N> coordinates(const HeatMaps<T, N>& in, const Place& at) {
  using S = opmath<T>;
  const SliceRow row = slice_row(in, at);
  RunCoordinates<S, N> z;
  z.x_step = in.grid.step[0];
  z.x_start = S(at.column) * in.grid.step[0] + in.grid.start[0];
  z.of_row[0] = S(row.row) * in.grid.step[1] + in.grid.start[1];
  if constexpr (N == 3) z.of_row[1] = S(row.slice) * in.grid.step[2] + in.grid.start[2];
  return z;
}

// What multiplies sums relative to one logit when they become relative to another, larger one.
template <class S>
INTERNET_HD S rescaling(S from, S to, S per_temperature) {
  return from == to ? S(1) : math::exp_below_88((from - to) * per_temperature);
}

template <class S, int N>
INTERNET_HD void scale(math::HeatSums<S, N>& sums, S factor) {
  sums.mass *= factor;
#pragma unroll
  for (int i = 0; i < N; ++i) sums.position[i] *= factor;
#pragma unroll
  for (int c = 0; c < N * N; ++c) sums.jac[c] *= factor;
}

template <int run, class T, int N>
INTERNET_HD void add_run(const HeatMaps<T, N>& in, const Place& place, const opmath<T> (&logit)[run],
                         const opmath<T> (&map)[run][N * N], HeatPartial<opmath<T>, N>& sum) {
  using S = opmath<T>;
  S largest = sum.largest;
#pragma unroll
  for (int i = 0; i < run; ++i) largest = math::larger(logit[i], largest);
  scale(sum.sums, rescaling(sum.largest, largest, in.per_temperature));
  sum.largest = largest;
  const RunCoordinates<S, N> z = coordinates(in, place);
#pragma unroll
  for (int i = 0; i < run; ++i) {
    const S e = math::heat_weight(logit[i], math::heat_reference(largest), in.per_temperature);
    sum.sums.mass += e;
    sum.sums.position[0] += e * (S(place.column + i) * in.grid.step[0] + in.grid.start[0]);
#pragma unroll
    for (int j = 1; j < N; ++j) sum.sums.position[j] += e * z.of_row[j - 1];
#pragma unroll
    for (int c = 0; c < N * N; ++c) sum.sums.jac[c] += e * map[i][c];
  }
}

// The pixels of one thread.
template <int run, class T, int N>
INTERNET_HD HeatPartial<opmath<T>, N> sum_runs(const HeatMaps<T, N>& in, int64_t image, int64_t anchor,
                                               int64_t first_pixel, int64_t step) {
  using S = opmath<T>;
  HeatPartial<S, N> sum{S(-INFINITY), {}};
  Place place(first_pixel, in.grid.width());
#pragma unroll 1
  for (int i = 0; i < pixels_of_a_thread / run && place.row < in.rows(); ++i) {
    S logit[run], map[run][N * N] = {};
    line<run>(in, in.logits, image, anchor, place).load(logit);
    if (in.map.data != nullptr) line<run>(in, in.map, image, in.map_of(anchor), place).load(map);
    add_run<run>(in, place, logit, map, sum);
    place.advance(step, in.grid.width());
  }
  return sum;
}

// One partial out of `count` of them, at(0) ..: lane 0 of a warp gets it, all 32 lanes must be here.
template <class S, int N, class At>
__device__ __forceinline__ HeatPartial<S, N> merge(int64_t count, S per_temperature, At at) {
  const int lane = threadIdx.x % warp_size;
  S largest = S(-INFINITY);
  for (int64_t i = lane; i < count; i += warp_size) largest = math::larger(at(i).largest, largest);
  largest = warp_largest(largest);
  math::HeatSums<S, N> sums{};
  for (int64_t i = lane; i < count; i += warp_size) {
    HeatPartial<S, N> part = at(i);
    const S factor = rescaling(part.largest, largest, per_temperature);
    sums.mass += factor * part.sums.mass;
#pragma unroll
    for (int j = 0; j < N; ++j) sums.position[j] += factor * part.sums.position[j];
#pragma unroll
    for (int c = 0; c < N * N; ++c) sums.jac[c] += factor * part.sums.jac[c];
  }
  HeatPartial<S, N> all;
  all.largest = largest;
  all.sums.mass = warp_sum(sums.mass);
#pragma unroll
  for (int j = 0; j < N; ++j) all.sums.position[j] = warp_sum(sums.position[j]);
#pragma unroll
  for (int c = 0; c < N * N; ++c) all.sums.jac[c] = warp_sum(sums.jac[c]);
  return all;
}

// The partials of a block's threads: one array for each number, so that neighbours are in different banks.
template <class S, int N>
struct ThreadPartials {
  static constexpr int count = 2 + N + N * N;
  S* numbers;  // (count, threads)

  __device__ __forceinline__ void put(int thread, const HeatPartial<S, N>& p) const {
    S* to = numbers + thread;
    to[0] = p.largest;
    to[block_threads] = p.sums.mass;
#pragma unroll
    for (int i = 0; i < N; ++i) to[(2 + i) * block_threads] = p.sums.position[i];
#pragma unroll
    for (int c = 0; c < N * N; ++c) to[(2 + N + c) * block_threads] = p.sums.jac[c];
  }
  __device__ __forceinline__ HeatPartial<S, N> get(int thread) const {
    const S* from = numbers + thread;
    HeatPartial<S, N> p;
    p.largest = from[0];
    p.sums.mass = from[block_threads];
#pragma unroll
    for (int i = 0; i < N; ++i) p.sums.position[i] = from[(2 + i) * block_threads];
#pragma unroll
    for (int c = 0; c < N * N; ++c) p.sums.jac[c] = from[(2 + N + c) * block_threads];
    return p;
  }
};

// What a block does.
struct Share {
  int64_t image, tile, first_anchor;

  INTERNET_MEMBER Share(int64_t block, int64_t tiles, int64_t groups, int columns) {
    const int64_t line = block / groups;
    first_anchor = (block - line * groups) * columns;
    image = line / tiles;
    tile = line - image * tiles;
  }
};

extern __shared__ __align__(4 * sizeof(double)) unsigned char shared_memory[];

template <int run, class T, int N>
__global__ void __launch_bounds__(block_threads, forward_blocks<T>)
    forward_kernel(SoftArgmaxForward<T, N> p) {
  using S = opmath<T>;
  const HeatMaps<T, N>& in = p.in;
  const Arrangement by = arrange(in, false);
  const Share share(blockIdx.x, p.tiles, parts(in.anchors, by.columns), by.columns);
  const int thread = threadIdx.x, lane = thread / by.columns, warp = thread / warp_size;
  const int64_t anchor = share.first_anchor + thread % by.columns;
  const int64_t first = share.tile * by.lanes * pixels_of_a_thread + lane * run;
  const ThreadPartials<S, N> partials{reinterpret_cast<S*>(shared_memory)};
  if (lane < by.lanes && anchor < in.anchors) {
    partials.put(thread, sum_runs<run>(in, share.image, anchor, first, by.lanes * run));
  }
  __syncthreads();
  for (int c = warp; c < by.columns && share.first_anchor + c < in.anchors; c += block_threads / warp_size) {
    const auto merged = merge<S, N>(by.lanes, in.per_temperature,
                                    [&](int64_t i) { return partials.get(int(i) * by.columns + c); });
    const int64_t plane = share.image * in.anchors + share.first_anchor + c;
    if (thread % warp_size == 0) p.partials[plane * p.tiles + share.tile] = merged;
  }
}

// A warp, which is a block, for each heat map.
template <class S, int N>
__global__ void merge_kernel(SoftArgmaxMerge<S, N> p) {
  const int64_t plane = blockIdx.x;
  const auto all =
      merge<S, N>(p.tiles, p.per_temperature, [&](int64_t i) { return p.partials[plane * p.tiles + i]; });
  if (threadIdx.x != 0) return;
#pragma unroll
  for (int i = 0; i < N; ++i) p.kp[N * plane + i] = all.sums.position[i] / all.sums.mass;
#pragma unroll
  for (int c = 0; c < N * N; ++c) {
    if (p.jac != nullptr) p.jac[N * N * plane + c] = all.sums.jac[c] / all.sums.mass;
  }
  p.statistics[2 * plane] = all.largest;
  p.statistics[2 * plane + 1] = all.sums.mass;
}

// The moments of one thread's pixels.
template <int run, class T, int N, class S = opmath<T>>
INTERNET_HD math::HeatMoments<S, N> moments_of_runs(const SoftArgmaxMoments<T, N>& p, int64_t image,
                                                    int64_t anchor, int64_t first_pixel, int64_t step) {
  const HeatMaps<T, N>& in = p.in;
  const int64_t plane = image * in.anchors + anchor;
  const S reference = math::heat_reference(p.statistics[2 * plane]);
  const S* kp = p.kp + N * plane;
  math::HeatMoments<S, N> sums{};
  Place place(first_pixel, in.grid.width());
#pragma unroll 1
  for (int i = 0; i < pixels_of_a_thread / run && place.row < in.rows(); ++i) {
    S logit[run], mass = 0, first = 0, second = 0;
    line<run>(in, in.logits, image, anchor, place).load(logit);
    RunCoordinates<S, N> z = coordinates(in, place);
#pragma unroll
    for (int k = 0; k < run; ++k) {
      const S e = math::heat_weight(logit[k], reference, in.per_temperature), d = z.x(k) - kp[0];
      mass += e;
      first += e * d;
      second += e * d * d;
    }
#pragma unroll
    for (int j = 1; j < N; ++j) z.of_row[j - 1] -= kp[j];
    math::add_row(sums, mass, first, second, z.of_row);
    place.advance(step, in.grid.width());
  }
  return sums;
}

template <int run, class T, int N>
__global__ void __launch_bounds__(block_threads) moments_kernel(SoftArgmaxMoments<T, N> p) {
  using S = opmath<T>;
  constexpr int count = math::triangle<N>;
  const HeatMaps<T, N>& in = p.in;
  const Arrangement by = arrange(in, false);
  const Share share(blockIdx.x, p.tiles, parts(in.anchors, by.columns), by.columns);
  const int thread = threadIdx.x, lane = thread / by.columns, warp = thread / warp_size;
  const int64_t anchor = share.first_anchor + thread % by.columns;
  const int64_t first = share.tile * by.lanes * pixels_of_a_thread + lane * run;
  S* numbers = reinterpret_cast<S*>(shared_memory);  // (count, threads)
  if (lane < by.lanes && anchor < in.anchors) {
    const auto sums = moments_of_runs<run>(p, share.image, anchor, first, by.lanes * run);
#pragma unroll
    for (int e = 0; e < count; ++e) numbers[e * block_threads + thread] = sums.entry[e];
  }
  __syncthreads();
  for (int c = warp; c < by.columns && share.first_anchor + c < in.anchors; c += block_threads / warp_size) {
    math::HeatMoments<S, N> all{};
    for (int i = thread % warp_size; i < by.lanes; i += warp_size) {
#pragma unroll
      for (int e = 0; e < count; ++e) all.entry[e] += numbers[e * block_threads + i * by.columns + c];
    }
#pragma unroll
    for (int e = 0; e < count; ++e) all.entry[e] = warp_sum(all.entry[e]);
    const int64_t plane = share.image * in.anchors + share.first_anchor + c;
    if (thread % warp_size == 0) p.partials[plane * p.tiles + share.tile] = all;
  }
}

// A warp, which is a block, for each heat map.
template <class S, int N>
__global__ void covariance_kernel(SoftArgmaxCovariance<S, N> p) {
  const int64_t plane = blockIdx.x;
  const S mass = p.statistics[2 * plane + 1];
  S* matrix = p.covariance + N * N * plane;
  int e = 0;
#pragma unroll
  for (int i = 0; i < N; ++i) {
#pragma unroll
    for (int j = i; j < N; ++j, ++e) {
      S sum = 0;
      for (int64_t tile = threadIdx.x; tile < p.tiles; tile += warp_size) {
        sum += p.partials[plane * p.tiles + tile].entry[e];
      }
      sum = warp_sum(sum);
      if (threadIdx.x == 0) matrix[N * i + j] = matrix[N * j + i] = sum / mass;
    }
  }
}

template <class S>
INTERNET_HD S at(const Strided<const S, 3>& t, int64_t image, int64_t anchor, int i) {
  if (t.data == nullptr) return 0;
  return t.data[image * t.stride[0] + anchor * t.stride[1] + i * t.stride[2]];
}
template <int N, class S>
INTERNET_HD S at(const Strided<const S, 4>& t, int64_t image, int64_t anchor, int c) {
  if (t.data == nullptr) return 0;
  return t.data[image * t.stride[0] + anchor * t.stride[1] + c / N * t.stride[2] + c % N * t.stride[3]];
}

template <class T, int N>
INTERNET_HD math::HeatGradient<opmath<T>, N> plane_gradient(const SoftArgmaxBackward<T, N>& p, int64_t image,
                                                            int64_t anchor) {
  using S = opmath<T>;
  math::HeatGradient<S, N> g;
  g.reference = math::heat_reference(at(p.statistics, image, anchor, 0));
  g.per_mass = 1 / at(p.statistics, image, anchor, 1);
#pragma unroll
  for (int i = 0; i < N; ++i) {
    g.position[i] = at(p.kp, image, anchor, i);
    g.grad_position[i] = at(p.grad_kp, image, anchor, i);
  }
  S covariance[N * N], grad_covariance[N * N];
#pragma unroll
  for (int c = 0; c < N * N; ++c) {
    g.jac[c] = at<N>(p.jac, image, anchor, c);
    g.grad_jac[c] = at<N>(p.grad_jac, image, anchor, c);
    covariance[c] = at<N>(p.covariance, image, anchor, c);
    grad_covariance[c] = at<N>(p.grad_covariance, image, anchor, c);
  }
  math::set_covariance(g, covariance, grad_covariance);
  return g;
}

// The gradients of one anchor at a run. That of the map is added to what other anchors have sent.
template <int run, class T, int N>
INTERNET_HD void pull_anchor(const SoftArgmaxBackward<T, N>& p, const Place& place, int64_t image,
                             int64_t anchor, const opmath<T> (&map)[run][N * N],
                             opmath<T> (&grad_map)[run][N * N]) {
  using S = opmath<T>;
  const math::HeatGradient<S, N> g = plane_gradient(p, image, anchor);
  const RunCoordinates<S, N> z = coordinates(p.in, place);
  const math::HeatRow<S> row = math::heat_row(g, z.of_row);
  S logit[run], grad[run];
  line<run>(p.in, p.in.logits, image, anchor, place).load(logit);
#pragma unroll
  for (int i = 0; i < run; ++i) {
    const S heat = math::heat_weight(logit[i], g.reference, p.in.per_temperature) * g.per_mass;
    const S x = S(place.column + i) * p.in.grid.step[0] + p.in.grid.start[0];
    grad[i] = math::heat_logit_gradient<true>(g, row, heat, x, map[i], p.in.per_temperature);
#pragma unroll
    for (int c = 0; c < N * N; ++c) grad_map[i][c] += heat * g.grad_jac[c];
  }
  if (p.grad_logits.data != nullptr) line<run>(p.in, p.grad_logits, image, anchor, place).store(grad);
}

template <int run, class T, int N>
__global__ void __launch_bounds__(block_threads, backward_blocks<T>)
    backward_kernel(SoftArgmaxBackward<T, N> p) {
  using S = opmath<T>;
  const HeatMaps<T, N>& in = p.in;
  const Arrangement by = arrange(in, in.shared_map);
  const int64_t tiles = parts(in.grid.pixels(), by.lanes * run);
  const Share share(blockIdx.x, tiles, in.shared_map ? 1 : parts(in.anchors, by.columns), by.columns);
  const int lane = threadIdx.x / by.columns;
  const int64_t anchor = share.first_anchor + threadIdx.x % by.columns;
  const Place place((share.tile * by.lanes + lane) * run, in.grid.width());
  if (lane >= by.lanes || place.row >= in.rows()) return;
  S map[run][N * N] = {}, grad_map[run][N * N] = {};
  if (in.shared_map) {
    if (in.map.data != nullptr) line<run>(in, in.map, share.image, 0, place).load(map);
    for (int64_t k = 0; k < in.anchors; ++k) pull_anchor<run>(p, place, share.image, k, map, grad_map);
  } else if (anchor < in.anchors) {
    if (in.map.data != nullptr) line<run>(in, in.map, share.image, anchor, place).load(map);
    pull_anchor<run>(p, place, share.image, anchor, map, grad_map);
  } else {
    return;
  }
  if (p.grad_map.data != nullptr) {
    line<run>(in, p.grad_map, share.image, in.map_of(anchor), place).store(grad_map);
  }
}

// A block for each tile of each group of anchors that it does together.
template <class P>
cudaError_t launch_tiles(void (*kernel)(P), int numbers_of_a_thread, const P& p, cudaStream_t stream) {
  const Arrangement by = arrange(p.in, false);
  const int64_t blocks = p.in.grid.batch * p.tiles * parts(p.in.anchors, by.columns);
  return launch(kernel, blocks, block_threads, numbers_of_a_thread * block_threads * sizeof(typename P::S),
                stream, p);
}

}  // namespace

template <class T, int N>
int64_t tiles_of(const HeatMaps<T, N>& in) {
  return parts(in.grid.pixels(), arrange(in, false).lanes * pixels_of_a_thread);
}

template <class T, int N>
cudaError_t soft_argmax_forward(const SoftArgmaxForward<T, N>& p, cudaStream_t stream) {
  auto kernel =
      arrange(p.in, false).run == 1 ? forward_kernel<1, T, N> : forward_kernel<longest_run<N>, T, N>;
  return launch_tiles(kernel, ThreadPartials<opmath<T>, N>::count, p, stream);
}

template <class S, int N>
cudaError_t soft_argmax_merge(const SoftArgmaxMerge<S, N>& p, cudaStream_t stream) {
  return launch(merge_kernel<S, N>, p.planes, warp_size, 0, stream, p);
}

template <class T, int N>
cudaError_t soft_argmax_moments(const SoftArgmaxMoments<T, N>& p, cudaStream_t stream) {
  auto kernel =
      arrange(p.in, false).run == 1 ? moments_kernel<1, T, N> : moments_kernel<longest_run<N>, T, N>;
  return launch_tiles(kernel, math::triangle<N>, p, stream);
}

template <class S, int N>
cudaError_t soft_argmax_covariance(const SoftArgmaxCovariance<S, N>& p, cudaStream_t stream) {
  return launch(covariance_kernel<S, N>, p.planes, warp_size, 0, stream, p);
}

template <class T, int N>
cudaError_t soft_argmax_backward(const SoftArgmaxBackward<T, N>& p, cudaStream_t stream) {
  const HeatMaps<T, N>& in = p.in;
  const Arrangement by = arrange(in, in.shared_map);
  const int64_t groups = in.shared_map ? 1 : parts(in.anchors, by.columns);
  const int64_t blocks = in.grid.batch * parts(in.grid.pixels(), by.lanes * by.run) * groups;
  auto kernel = by.run == 1 ? backward_kernel<1, T, N> : backward_kernel<longest_run<N>, T, N>;
  return launch(kernel, blocks, block_threads, 0, stream, p);
}

#define INSTANTIATE_SUMS(S, N)                                                        \
  template cudaError_t soft_argmax_merge(const SoftArgmaxMerge<S, N>&, cudaStream_t); \
  template cudaError_t soft_argmax_covariance(const SoftArgmaxCovariance<S, N>&, cudaStream_t);
INSTANTIATE_SUMS(float, 2)
INSTANTIATE_SUMS(float, 3)
INSTANTIATE_SUMS(double, 2)
INSTANTIATE_SUMS(double, 3)

#define INSTANTIATE(T, N)                                                                 \
  template int64_t tiles_of(const HeatMaps<T, N>&);                                       \
  template cudaError_t soft_argmax_forward(const SoftArgmaxForward<T, N>&, cudaStream_t); \
  template cudaError_t soft_argmax_moments(const SoftArgmaxMoments<T, N>&, cudaStream_t); \
  template cudaError_t soft_argmax_backward(const SoftArgmaxBackward<T, N>&, cudaStream_t);
INSTANTIATE(float, 2)
INSTANTIATE(float, 3)
INSTANTIATE(double, 2)
INSTANTIATE(double, 3)
INSTANTIATE(__half, 2)
INSTANTIATE(__half, 3)
INSTANTIATE(__nv_bfloat16, 2)
INSTANTIATE(__nv_bfloat16, 3)

}  // namespace internet::cuda
