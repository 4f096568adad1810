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
constexpr int longest_run = 4;
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

template <class T>
INTERNET_HD Arrangement arrange(const HeatMaps<T>& in, bool anchors_in_turn) {
  const bool side_by_side = in.logits.stride[1] < in.logits.stride[3] && in.anchors > 1;
  int columns = 1;
  if (side_by_side && !anchors_in_turn) columns = in.anchors < most_columns ? int(in.anchors) : most_columns;
  const bool runs = columns == 1 && in.grid.width() % longest_run == 0;
  return {columns, block_threads / columns, runs ? longest_run : 1};
}

INTERNET_HD int64_t parts(int64_t size, int64_t part) { return (size + part - 1) / part; }

// The first pixel of a run.
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

template <int run, class U>
INTERNET_HD Line<run, U> line(const Strided<U, 4>& logits, int64_t image, int64_t anchor, const Place& at) {
  const auto& s = logits.stride;
  return {logits.data + image * s[0] + anchor * s[1] + at.row * s[2] + at.column * s[3], s[3]};
}

// A run of a Jacobian map: four numbers for each pixel.
template <int run, class U>
struct MapLine {
  using T = std::remove_const_t<U>;
  using S = opmath<T>;
  U* first;
  int64_t component_stride, column_stride;

  INTERNET_MEMBER bool as_four() const {
    return run == 1 && component_stride == 1 && is_multiple(first, sizeof(Four<T>));
  }
  INTERNET_MEMBER Line<run, U> component(int c) const {
    return {first + c * component_stride, column_stride};
  }

  INTERNET_MEMBER void load(S (&value)[run][4]) const {
    if constexpr (run == 1) {
      if (as_four()) return load_four(first, value[0]);
    }
#pragma unroll
    for (int c = 0; c < 4; ++c) {
      S numbers[run];
      component(c).load(numbers);
#pragma unroll
      for (int i = 0; i < run; ++i) value[i][c] = numbers[i];
    }
  }
  INTERNET_MEMBER void store(const S (&value)[run][4]) const {
    if constexpr (run == 1) {
      if (as_four()) return store_four(first, value[0]);
    }
#pragma unroll
    for (int c = 0; c < 4; ++c) {
      S numbers[run];
#pragma unroll
      for (int i = 0; i < run; ++i) numbers[i] = value[i][c];
      component(c).store(numbers);
    }
  }
};

template <int run, class U>
INTERNET_HD MapLine<run, U> line(const Strided<U, 5>& map, int64_t image, int64_t anchor, const Place& at) {
  const auto& s = map.stride;
  return {map.data + image * s[0] + anchor * s[1] + at.row * s[3] + at.column * s[4], s[2], s[4]};
}

// What multiplies sums relative to one logit when they become relative to another, larger one.
template <class S>
INTERNET_HD S rescaling(S from, S to, S per_temperature) {
  return from == to ? S(1) : math::exp_below_88((from - to) * per_temperature);
}

template <class S>
INTERNET_HD void scale(math::HeatSums<S>& sums, S factor) {
  sums.mass *= factor;
  sums.x *= factor;
  sums.y *= factor;
#pragma unroll
  for (int c = 0; c < 4; ++c) sums.jac[c] *= factor;
}

template <int run, class T>
INTERNET_HD void add_run(const HeatMaps<T>& in, const Place& place, const opmath<T> (&logit)[run],
                         const opmath<T> (&map)[run][4], HeatPartial<opmath<T>>& sum) {
  using S = opmath<T>;
  S largest = sum.largest;
#pragma unroll
  for (int i = 0; i < run; ++i) largest = math::larger(logit[i], largest);
  scale(sum.sums, rescaling(sum.largest, largest, in.per_temperature));
  sum.largest = largest;
  const S y = S(place.row) * in.grid.step[1] + in.grid.start[1];
#pragma unroll
  for (int i = 0; i < run; ++i) {
    const S e = math::heat_weight(logit[i], math::heat_reference(largest), in.per_temperature);
    sum.sums.mass += e;
    sum.sums.x += e * (S(place.column + i) * in.grid.step[0] + in.grid.start[0]);
    sum.sums.y += e * y;
#pragma unroll
    for (int c = 0; c < 4; ++c) sum.sums.jac[c] += e * map[i][c];
  }
}

// The pixels of one thread.
template <int run, class T>
INTERNET_HD HeatPartial<opmath<T>> sum_runs(const HeatMaps<T>& in, int64_t image, int64_t anchor,
                                            int64_t first_pixel, int64_t step) {
  using S = opmath<T>;
  HeatPartial<S> sum{S(-INFINITY), {}};
  Place place(first_pixel, in.grid.width());
#pragma unroll 1
  for (int i = 0; i < pixels_of_a_thread / run && place.row < in.grid.height(); ++i) {
    S logit[run], map[run][4] = {};
    line<run>(in.logits, image, anchor, place).load(logit);
    if (in.map.data != nullptr) line<run>(in.map, image, in.map_of(anchor), place).load(map);
    add_run<run>(in, place, logit, map, sum);
    place.advance(step, in.grid.width());
  }
  return sum;
}

// One partial out of `count` of them, at(0) ..: lane 0 of a warp gets it, all 32 lanes must be here.
template <class S, class At>
__device__ __forceinline__ HeatPartial<S> merge(int64_t count, S per_temperature, At at) {
  const int lane = threadIdx.x % warp_size;
  S largest = S(-INFINITY);
  for (int64_t i = lane; i < count; i += warp_size) largest = math::larger(at(i).largest, largest);
  largest = warp_largest(largest);
  math::HeatSums<S> sums{};
  for (int64_t i = lane; i < count; i += warp_size) {
    HeatPartial<S> part = at(i);
    const S factor = rescaling(part.largest, largest, per_temperature);
    sums.mass += factor * part.sums.mass;
    sums.x += factor * part.sums.x;
    sums.y += factor * part.sums.y;
#pragma unroll
    for (int c = 0; c < 4; ++c) sums.jac[c] += factor * part.sums.jac[c];
  }
  return {largest,
          {warp_sum(sums.mass),
           warp_sum(sums.x),
           warp_sum(sums.y),
           {warp_sum(sums.jac[0]), warp_sum(sums.jac[1]), warp_sum(sums.jac[2]), warp_sum(sums.jac[3])}}};
}

// The partials of a block's threads: one array for each number, so that neighbours are in different banks.
template <class S>
struct ThreadPartials {
  S* numbers;  // (8, threads)

  __device__ __forceinline__ void put(int thread, const HeatPartial<S>& p) const {
    const S all[8] = {p.largest,     p.sums.mass,   p.sums.x,      p.sums.y,
                      p.sums.jac[0], p.sums.jac[1], p.sums.jac[2], p.sums.jac[3]};
#pragma unroll
    for (int i = 0; i < 8; ++i) numbers[i * block_threads + thread] = all[i];
  }
  __device__ __forceinline__ HeatPartial<S> get(int thread) const {
    S all[8];
#pragma unroll
    for (int i = 0; i < 8; ++i) all[i] = numbers[i * block_threads + thread];
    return {all[0], {all[1], all[2], all[3], {all[4], all[5], all[6], all[7]}}};
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

template <int run, class T>
__global__ void __launch_bounds__(block_threads, forward_blocks<T>) forward_kernel(SoftArgmaxForward<T> p) {
  using S = opmath<T>;
  const HeatMaps<T>& in = p.in;
  const Arrangement by = arrange(in, false);
  const Share share(blockIdx.x, p.tiles, parts(in.anchors, by.columns), by.columns);
  const int thread = threadIdx.x, lane = thread / by.columns, warp = thread / warp_size;
  const int64_t anchor = share.first_anchor + thread % by.columns;
  const int64_t first = share.tile * by.lanes * pixels_of_a_thread + lane * run;
  const ThreadPartials<S> partials{reinterpret_cast<S*>(shared_memory)};
  if (lane < by.lanes && anchor < in.anchors) {
    partials.put(thread, sum_runs<run>(in, share.image, anchor, first, by.lanes * run));
  }
  __syncthreads();
  for (int c = warp; c < by.columns && share.first_anchor + c < in.anchors; c += block_threads / warp_size) {
    const auto merged = merge<S>(by.lanes, in.per_temperature,
                                 [&](int64_t i) { return partials.get(int(i) * by.columns + c); });
    const int64_t plane = share.image * in.anchors + share.first_anchor + c;
    if (thread % warp_size == 0) p.partials[plane * p.tiles + share.tile] = merged;
  }
}

// A warp, which is a block, for each heat map.
template <class S>
__global__ void merge_kernel(SoftArgmaxMerge<S> p) {
  const int64_t plane = blockIdx.x;
  const auto all =
      merge<S>(p.tiles, p.per_temperature, [&](int64_t i) { return p.partials[plane * p.tiles + i]; });
  if (threadIdx.x != 0) return;
  p.kp[2 * plane] = all.sums.x / all.sums.mass;
  p.kp[2 * plane + 1] = all.sums.y / all.sums.mass;
#pragma unroll
  for (int c = 0; c < 4; ++c) {
    if (p.jac != nullptr) p.jac[4 * plane + c] = all.sums.jac[c] / all.sums.mass;
  }
  p.statistics[2 * plane] = all.largest;
  p.statistics[2 * plane + 1] = all.sums.mass;
}

template <class S>
INTERNET_HD S at(const Strided<const S, 3>& t, int64_t image, int64_t anchor, int i) {
  if (t.data == nullptr) return 0;
  return t.data[image * t.stride[0] + anchor * t.stride[1] + i * t.stride[2]];
}
template <class S>
INTERNET_HD S at(const Strided<const S, 4>& t, int64_t image, int64_t anchor, int c) {
  if (t.data == nullptr) return 0;
  return t.data[image * t.stride[0] + anchor * t.stride[1] + c / 2 * t.stride[2] + c % 2 * t.stride[3]];
}

template <class T>
INTERNET_HD math::HeatGradient<opmath<T>> plane_gradient(const SoftArgmaxBackward<T>& p, int64_t image,
                                                         int64_t anchor) {
  using S = opmath<T>;
  math::HeatGradient<S> g;
  g.reference = math::heat_reference(at(p.statistics, image, anchor, 0));
  g.per_mass = 1 / at(p.statistics, image, anchor, 1);
  g.x = at(p.kp, image, anchor, 0);
  g.y = at(p.kp, image, anchor, 1);
  g.grad_x = at(p.grad_kp, image, anchor, 0);
  g.grad_y = at(p.grad_kp, image, anchor, 1);
#pragma unroll
  for (int c = 0; c < 4; ++c) {
    g.jac[c] = at(p.jac, image, anchor, c);
    g.grad_jac[c] = at(p.grad_jac, image, anchor, c);
  }
  return g;
}

// The gradients of one anchor at a run. That of the map is added to what other anchors have sent.
template <int run, class T>
INTERNET_HD void pull_anchor(const SoftArgmaxBackward<T>& p, const Place& place, int64_t image,
                             int64_t anchor, const opmath<T> (&map)[run][4], opmath<T> (&grad_map)[run][4]) {
  using S = opmath<T>;
  const math::HeatGradient<S> g = plane_gradient(p, image, anchor);
  const S y = S(place.row) * p.in.grid.step[1] + p.in.grid.start[1];
  S logit[run], grad[run];
  line<run>(p.in.logits, image, anchor, place).load(logit);
#pragma unroll
  for (int i = 0; i < run; ++i) {
    const S heat = math::heat_weight(logit[i], g.reference, p.in.per_temperature) * g.per_mass;
    const S x = S(place.column + i) * p.in.grid.step[0] + p.in.grid.start[0];
    grad[i] = math::heat_logit_gradient<true>(g, heat, x, y, map[i], p.in.per_temperature);
#pragma unroll
    for (int c = 0; c < 4; ++c) grad_map[i][c] += heat * g.grad_jac[c];
  }
  if (p.grad_logits.data != nullptr) line<run>(p.grad_logits, image, anchor, place).store(grad);
}

template <int run, class T>
__global__ void __launch_bounds__(block_threads, backward_blocks<T>)
    backward_kernel(SoftArgmaxBackward<T> p) {
  using S = opmath<T>;
  const HeatMaps<T>& in = p.in;
  const Arrangement by = arrange(in, in.shared_map);
  const int64_t tiles = parts(in.grid.pixels(), by.lanes * run);
  const Share share(blockIdx.x, tiles, in.shared_map ? 1 : parts(in.anchors, by.columns), by.columns);
  const int lane = threadIdx.x / by.columns;
  const int64_t anchor = share.first_anchor + threadIdx.x % by.columns;
  const Place place((share.tile * by.lanes + lane) * run, in.grid.width());
  if (lane >= by.lanes || place.row >= in.grid.height()) return;
  S map[run][4] = {}, grad_map[run][4] = {};
  if (in.shared_map) {
    if (in.map.data != nullptr) line<run>(in.map, share.image, 0, place).load(map);
    for (int64_t k = 0; k < in.anchors; ++k) pull_anchor<run>(p, place, share.image, k, map, grad_map);
  } else if (anchor < in.anchors) {
    if (in.map.data != nullptr) line<run>(in.map, share.image, anchor, place).load(map);
    pull_anchor<run>(p, place, share.image, anchor, map, grad_map);
  } else {
    return;
  }
  if (p.grad_map.data != nullptr)
    line<run>(p.grad_map, share.image, in.map_of(anchor), place).store(grad_map);
}

}  // namespace

template <class T>
int64_t tiles_of(const HeatMaps<T>& in) {
  return parts(in.grid.pixels(), arrange(in, false).lanes * pixels_of_a_thread);
}

template <class T>
cudaError_t soft_argmax_forward(const SoftArgmaxForward<T>& p, cudaStream_t stream) {
  const Arrangement by = arrange(p.in, false);
  const int64_t blocks = p.in.grid.batch * p.tiles * parts(p.in.anchors, by.columns);
  auto kernel = by.run == 1 ? forward_kernel<1, T> : forward_kernel<longest_run, T>;
  constexpr size_t shared_bytes = 8 * block_threads * sizeof(opmath<T>);
  return launch(kernel, blocks, block_threads, shared_bytes, stream, p);
}

template <class S>
cudaError_t soft_argmax_merge(const SoftArgmaxMerge<S>& p, cudaStream_t stream) {
  return launch(merge_kernel<S>, p.planes, warp_size, 0, stream, p);
}

template <class T>
cudaError_t soft_argmax_backward(const SoftArgmaxBackward<T>& p, cudaStream_t stream) {
  const HeatMaps<T>& in = p.in;
  const Arrangement by = arrange(in, in.shared_map);
  const int64_t groups = in.shared_map ? 1 : parts(in.anchors, by.columns);
  const int64_t blocks = in.grid.batch * parts(in.grid.pixels(), by.lanes * by.run) * groups;
  auto kernel = by.run == 1 ? backward_kernel<1, T> : backward_kernel<longest_run, T>;
  return launch(kernel, blocks, block_threads, 0, stream, p);
}

template cudaError_t soft_argmax_merge(const SoftArgmaxMerge<float>&, cudaStream_t);
template cudaError_t soft_argmax_merge(const SoftArgmaxMerge<double>&, cudaStream_t);

#define INSTANTIATE(T)                                                                 \
  template int64_t tiles_of(const HeatMaps<T>&);                                       \
  template cudaError_t soft_argmax_forward(const SoftArgmaxForward<T>&, cudaStream_t); \
  template cudaError_t soft_argmax_backward(const SoftArgmaxBackward<T>&, cudaStream_t);
INSTANTIATE(float)
INSTANTIATE(double)
INSTANTIATE(__half)
INSTANTIATE(__nv_bfloat16)

}  // namespace internet::cuda
