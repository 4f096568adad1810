// A thread computes a run of four neighbouring pixels of a row. Their own flow, the pixel after it and the
// row below are read as vectors where their layout permits, and the four samples, of eight loads each, do not
// wait for each other. A block computes tiles of eight rows, so that all but one of the rows below are in its
// cache.
#include "cuda/flow_confidence/kernels.h"
#include "cuda/runtime/instantiate.h"
#include "cuda/runtime/launch.h"
#include "cuda/runtime/offsets.h"
#include "math/flow_confidence.h"
#include "math/masked_backwarp_loss.h"

namespace internet::cuda {
namespace {

constexpr int run = 4;
constexpr int tile_rows = 8, tile_columns = run * warp_size;

// One component of a flow: one channel of one image. Index counts its elements.
template <class T, class Index>
struct Component {
  const T* data;
  Index row_stride, column_stride;
  Index height, width;
  bool vectors;  // every run is consecutive in memory and aligned to its size

  INTERNET_MEMBER opmath<T> at(Index row, Index column) const {
    return widen(data[row * row_stride + column * column_stride]);
  }
  // n pixels of a row from the beginning of a run on, repeating the last pixel of the row.
  template <int n>
  INTERNET_MEMBER void read(Index row, Index first, opmath<T> (&line)[n]) const {
    if (vectors) {
      const auto v = *reinterpret_cast<const Four<T>*>(data + row * row_stride + first);
      line[0] = widen(v.first);
      line[1] = widen(v.second);
      line[2] = widen(v.third);
      line[3] = widen(v.fourth);
    }
#pragma unroll
    for (int i = 0; i < n; ++i) {
      const Index column = first + i < width ? first + i : width - 1;
      if (!vectors || i >= run) line[i] = at(row, column);
    }
  }
};

template <class Index, class T>
INTERNET_HD Component<T, Index> component(const Strided<const T, 4>& flow, const FlowConfidence<T>& p,
                                          int64_t image, int channel) {
  const T* data = flow.data + image * flow.stride[0] + channel * flow.stride[1];
  const bool vectors = flow.stride[3] == 1 && p.width % run == 0 && flow.stride[2] % run == 0 &&
                       reinterpret_cast<uintptr_t>(data) % sizeof(Four<T>) == 0;
  return {data, Index(flow.stride[2]), Index(flow.stride[3]), Index(p.height), Index(p.width), vectors};
}

// The pixels between which a sample lies along one axis. It is inside the frame, or clamped to it.
template <class S, class Index>
struct Between {
  Index low, high;
  S fraction;

  INTERNET_MEMBER Between(S t, Index size) {
    const auto position = math::position(t, S(size), true);
    low = Index(position.base);
    high = low + 1 < size ? low + 1 : low;
    fraction = position.fraction;
  }
};

template <class T, class Index>
INTERNET_HD opmath<T> sample(const Component<T, Index>& flow, const Between<opmath<T>, Index>& x,
                             const Between<opmath<T>, Index>& y) {
  const auto left = math::interpolate_down(flow.at(y.low, x.low), flow.at(y.high, x.low), y.fraction);
  const auto right = math::interpolate_down(flow.at(y.low, x.high), flow.at(y.high, x.high), y.fraction);
  return math::interpolate_across(left, right, x.fraction).value;
}

template <class T, class Index>
INTERNET_HD void judge_run(const FlowConfidence<T>& p, int64_t image, Index row, Index first) {
  using S = opmath<T>;
  const auto forward_x = component<Index>(p.flow_forward, p, image, 0);
  const auto forward_y = component<Index>(p.flow_forward, p, image, 1);
  const auto backward_x = component<Index>(p.flow_backward, p, image, 0);
  const auto backward_y = component<Index>(p.flow_backward, p, image, 1);
  S x[run + 1], y[run + 1], below_x[run], below_y[run];
  forward_x.read(row, first, x);
  forward_y.read(row, first, y);
  if (p.with_boundary) {
    const Index below = row + 1 < forward_x.height ? row + 1 : row;  // the difference at the border is 0
    forward_x.read(below, first, below_x);
    forward_y.read(below, first, below_y);
  }
  T mask[run];
#pragma unroll
  for (int i = 0; i < run; ++i) {
    const math::FlowVector<S> w{x[i], y[i]};
    const S to_x = S(first + i) + w.x, to_y = S(row) + w.y;
    const Between<S, Index> across(to_x, forward_x.width), down(to_y, forward_x.height);
    const math::FlowVector<S> returned{sample(backward_x, across, down), sample(backward_y, across, down)};
    bool reliable = math::inside_frame(to_x, S(p.width), true) & math::inside_frame(to_y, S(p.height), true) &
                    math::flows_cancel(w, returned, p.bounds);
    if (p.with_boundary) {
      const math::FlowVector<S> right{x[i + 1], y[i + 1]}, below{below_x[i], below_y[i]};
      reliable &= math::flow_is_smooth(w, right, below, p.bounds);
    }
    mask[i] = narrow<T>(reliable ? S(1) : S(0));
  }
  T* out = p.mask + (image * p.height + row) * p.width + first;
  if (p.width % run == 0) {
    *reinterpret_cast<Four<T>*>(out) = {mask[0], mask[1], mask[2], mask[3]};
  } else {
#pragma unroll
    for (int i = 0; i < run; ++i) {
      if (first + i < forward_x.width) out[i] = mask[i];
    }
  }
}

template <class Index>
INTERNET_HD Index parts(Index size, Index part) {
  return (size + part - 1) / part;
}

template <class Index, class T>
__global__ void __launch_bounds__(tile_rows* warp_size) kernel(FlowConfidence<T> p) {
  const Index across = parts(Index(p.width), Index(tile_columns));
  const Index down = parts(Index(p.height), Index(tile_rows));
  const Index line = Index(blockIdx.x) / across, image = line / down;
  const Index row = (line - image * down) * tile_rows + threadIdx.x / warp_size;
  const Index first = (Index(blockIdx.x) - line * across) * tile_columns + threadIdx.x % warp_size * run;
  if (row < Index(p.height) && first < Index(p.width)) judge_run<T, Index>(p, image, row, first);
}

}  // namespace

template <class T>
cudaError_t flow_confidence(const FlowConfidence<T>& p, cudaStream_t stream) {
  const int64_t blocks =
      p.batch * parts<int64_t>(p.height, tile_rows) * parts<int64_t>(p.width, tile_columns);
  const bool narrow_offsets = fits_32_bits(p.flow_forward, {2, p.height, p.width}) &&
                              fits_32_bits(p.flow_backward, {2, p.height, p.width});
  return launch(narrow_offsets ? kernel<int32_t, T> : kernel<int64_t, T>, blocks, tile_rows * warp_size, 0,
                stream, p);
}

#define INSTANTIATE(T) template cudaError_t flow_confidence(const FlowConfidence<T>&, cudaStream_t);
INTERNET_EACH_STORAGE(INSTANTIATE)

}  // namespace internet::cuda
