#include "launch.h"
#include "sampled_motion.h"
#include "sampling_transpose.h"

namespace internet::cuda {
namespace {

constexpr int threads = 256, warps = threads / warp_size;

// Calls visit(readers of the pixel, weight) for each pixel of the image that output pixel `index` reads.
template <class S, class Visit>
__device__ __forceinline__ void each_read(const SamplingTranspose<S>& p, int64_t index, Visit visit) {
  const int64_t width = p.motion.width, line = index / width, image = line / p.motion.height;
  const int64_t row = line - image * p.motion.height, column = index - line * width;
  const BilinearSample<S> s = sample_of(p.motion, motion_at(p.motion, p.first_image + image, row, column));
  if (!s.reads) return;
  Readers* nw = p.lists + 1 + (image * p.motion.height + s.row) * width + s.column;
  visit(nw, s.weights.nw);
  if (s.east) visit(nw + 1, s.weights.ne);
  if (s.south) visit(nw + width, s.weights.sw);
  if (s.east && s.south) visit(nw + width + 1, s.weights.se);
}

template <class S>
__global__ void __launch_bounds__(threads) count_kernel(SamplingTranspose<S> p) {
  const int64_t index = int64_t(blockIdx.x) * threads + threadIdx.x;
  if (index >= p.pixels()) return;
  each_read(p, index, [](Readers* readers, S) { atomicAdd(&readers->count, 1); });
}

template <class S>
__device__ __forceinline__ unsigned long long* handed_out(const SamplingTranspose<S>& p) {
  return reinterpret_cast<unsigned long long*>(&p.lists->first);
}

// Where the stretches of a block lie beside those of other blocks is of no consequence.
template <class S>
__global__ void __launch_bounds__(threads) allot_kernel(SamplingTranspose<S> p) {
  __shared__ int of_warp[warps];
  __shared__ int64_t first_of_block;
  const int64_t index = int64_t(blockIdx.x) * threads + threadIdx.x;
  const int lane = threadIdx.x % warp_size, warp = threadIdx.x / warp_size;
  const bool inside = index < p.pixels();
  const int count = inside ? p.lists[1 + index].count : 0;
  int before = count;  // up to and with this lane
#pragma unroll
  for (int offset = 1; offset < warp_size; offset *= 2) {
    const int other = __shfl_up_sync(~0u, before, offset);
    if (lane >= offset) before += other;
  }
  if (lane == warp_size - 1) of_warp[warp] = before;
  before -= count;
  __syncthreads();
  int all = 0;
#pragma unroll
  for (int i = 0; i < warps; ++i) {
    if (i < warp) before += of_warp[i];
    all += of_warp[i];
  }
  if (threadIdx.x == 0)
    first_of_block = int64_t(atomicAdd(handed_out(p), static_cast<unsigned long long>(all)));
  __syncthreads();
  if (inside) p.lists[1 + index].first = first_of_block + before;
}

template <class S>
__global__ void __launch_bounds__(threads) fill_kernel(SamplingTranspose<S> p) {
  const int64_t index = int64_t(blockIdx.x) * threads + threadIdx.x;
  if (index >= p.pixels()) return;
  const auto pixel = uint32_t(index % (p.motion.height * p.motion.width));
  each_read(p, index, [&](Readers* readers, S weight) {
    p.readers[readers->first + atomicAdd(&readers->filled, 1)] = {pixel, weight};
  });
}

constexpr int few_readers = 32;

// By insertion: there are mostly four.
template <class S>
__device__ __forceinline__ void sort_few(Reader<S>* readers, int count) {
  for (int i = 1; i < count; ++i) {
    const Reader<S> one = readers[i];
    int place = i;
    for (; place > 0 && readers[place - 1].pixel > one.pixel; --place) readers[place] = readers[place - 1];
    if (place != i) readers[place] = one;
  }
}

// A block sorts by merging: stretches of `half` are merged into stretches twice as long. The first
// comparisons of a merge are with the mirror image, so that every comparison puts the smaller first and a
// count that is not a power of two needs no padding: what lies beyond the end counts as the largest. All
// threads of the block are here.
template <class S>
__device__ void sort_many(Reader<S>* readers, int count) {
  auto order = [&](int64_t low, int64_t high) {
    if (high >= count) return;
    const Reader<S> a = readers[low], b = readers[high];
    if (a.pixel <= b.pixel) return;
    readers[low] = b;
    readers[high] = a;
  };
  for (int64_t half = 1; half < count; half *= 2) {
    for (int64_t step = half; step > 0; step /= 2) {
      for (int64_t i = threadIdx.x; i < (int64_t(count) + 2 * half) / 2; i += threads) {
        const int64_t block = i / step * 2 * step, place = i % step;
        order(block + place, step == half ? block + 2 * step - 1 - place : block + step + place);
      }
      __syncthreads();
    }
  }
}

template <class S>
__global__ void __launch_bounds__(threads) sort_kernel(SamplingTranspose<S> p) {
  __shared__ Readers many[threads];
  __shared__ int how_many;
  if (threadIdx.x == 0) how_many = 0;
  __syncthreads();
  const int64_t index = int64_t(blockIdx.x) * threads + threadIdx.x;
  if (index < p.pixels()) {
    const Readers own = p.lists[1 + index];
    if (own.count <= few_readers) {
      sort_few(p.readers + own.first, own.count);
    } else {
      many[atomicAdd(&how_many, 1)] = own;
    }
  }
  __syncthreads();
  for (int i = 0; i < how_many; ++i) sort_many(p.readers + many[i].first, many[i].count);
}

}  // namespace

template <class S>
cudaError_t transpose_sampling(const SamplingTranspose<S>& p, cudaStream_t stream) {
  const int64_t pixels = p.pixels(), blocks = (pixels + threads - 1) / threads;
  cudaError_t status = cudaMemsetAsync(p.lists, 0, (1 + pixels) * sizeof(Readers), stream);
  for (auto kernel : {count_kernel<S>, allot_kernel<S>, fill_kernel<S>, sort_kernel<S>}) {
    if (status == cudaSuccess) status = launch(kernel, blocks, threads, 0, stream, p);
  }
  return status;
}

template cudaError_t transpose_sampling(const SamplingTranspose<float>&, cudaStream_t);
template cudaError_t transpose_sampling(const SamplingTranspose<double>&, cudaStream_t);

}  // namespace internet::cuda
