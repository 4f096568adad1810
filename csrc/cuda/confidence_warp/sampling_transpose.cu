#include "cuda/confidence_warp/sampled_motion.h"
#include "cuda/confidence_warp/sampling_transpose.h"
#include "cuda/confidence_warp/tile_readers.h"
#include "cuda/runtime/launch.h"
#include "cuda/runtime/own_pixel.h"

namespace internet::cuda {
namespace {

constexpr int threads = ReaderTiles::pixels, warps = threads / warp_size;

// What an output pixel reads: its sample, and the reader lists of the four pixels, from the north-west on.
template <class S>
struct Reads {
  BilinearSample<S> sample;
  Readers* lists[4];
  uint32_t pixel;

  // Whether one of the four pixels is read.
  INTERNET_MEMBER bool read(int corner) const {
    return sample.reads && (corner % 2 == 0 || sample.east) && (corner < 2 || sample.south);
  }
  INTERNET_MEMBER S weight(int corner) const {
    const auto& w = sample.weights;
    return corner < 2 ? (corner == 0 ? w.nw : w.ne) : (corner == 2 ? w.sw : w.se);
  }
};
// What this thread's pixel of the tile reads; nothing if the pixel is past the image's edge.
template <bool plain, class S>
__device__ __forceinline__ Reads<S> reads_of(const SamplingTranspose<S>& p) {
  const ReaderTiles tiles = p.tiles();
  const auto [tile, own] = own_pixel(tiles);
  Reads<S> r{};
  if (!own.inside) return r;
  r.sample = sample_of(p.motion, motion_at<plain>(p.motion, p.first_image + tile.image, own.row, own.column));
  r.pixel = uint32_t(own.row * p.motion.width + own.column);
  const int64_t lines = tile.image * tiles.down();
#pragma unroll
  for (int corner = 0; corner < 4; ++corner) {
    const int row = r.sample.row + corner / 2, column = r.sample.column + corner % 2;
    const int64_t place = (lines + row / ReaderTiles::height) * tiles.across() + column / ReaderTiles::width;
    r.lists[corner] = p.lists + 1 + place * threads + row % ReaderTiles::height * ReaderTiles::width +
                      column % ReaderTiles::width;
  }
  return r;
}

template <bool plain, class S>
__global__ void __launch_bounds__(threads) count_kernel(SamplingTranspose<S> p) {
  const Reads<S> r = reads_of<plain>(p);
#pragma unroll
  for (int corner = 0; corner < 4; ++corner) {
    if (r.read(corner)) atomicAdd(&r.lists[corner]->count, 1);
  }
}

template <class S>
__device__ __forceinline__ unsigned long long* handed_out(const SamplingTranspose<S>& p) {
  return reinterpret_cast<unsigned long long*>(&p.lists->first);
}

// Gives each list its range of the readers, in any order of the blocks.
template <class S>
__global__ void __launch_bounds__(threads) allot_kernel(SamplingTranspose<S> p) {
  __shared__ int of_warp[warps];
  __shared__ int64_t first_of_block;
  const int64_t index = 1 + int64_t(blockIdx.x) * threads + threadIdx.x;
  const int lane = threadIdx.x % warp_size, warp = threadIdx.x / warp_size, count = p.lists[index].count;
  int before = count;  // up to and including this lane
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
  p.lists[index].first = first_of_block + before;
}

// Issues the four atomics, and then the four stores, before the first result is needed.
template <bool plain, class S>
__global__ void __launch_bounds__(threads) fill_kernel(SamplingTranspose<S> p) {
  const Reads<S> r = reads_of<plain>(p);
  int64_t first[4];
  int place[4];
#pragma unroll
  for (int corner = 0; corner < 4; ++corner) {
    if (!r.read(corner)) continue;
    first[corner] = r.lists[corner]->first;
    place[corner] = atomicAdd(&r.lists[corner]->filled, 1);
  }
#pragma unroll
  for (int corner = 0; corner < 4; ++corner) {
    if (r.read(corner)) p.readers[first[corner] + place[corner]] = {r.pixel, r.weight(corner)};
  }
}

// A block sorts by merging: ranges of length `half` are merged into ranges twice as long. The first
// comparisons of a merge are with the mirror image, so that every comparison puts the smaller value first,
// and a count that is not a power of two needs no padding: what lies beyond the end counts as the largest.
// Must be called by all threads of the block.
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

// Sorts the remaining lists: long ones, each by the whole block, and the short ones of tiles that do not fit
// into shared memory.
template <class S>
__global__ void __launch_bounds__(threads) sort_kernel(SamplingTranspose<S> p) {
  __shared__ uint16_t long_lists[threads];
  __shared__ int how_many;
  if (threadIdx.x == 0) how_many = 0;
  __syncthreads();
  const Readers* lists = p.lists + 1 + int64_t(blockIdx.x) * threads;
  const Readers own = lists[threadIdx.x];
  if (own.count > few_readers) {
    long_lists[atomicAdd(&how_many, 1)] = uint16_t(threadIdx.x);
  } else if (stretch_of(lists).length > staged_readers) {
    sort_few(p.readers + own.first, own.count);
  }
  __syncthreads();
  for (int i = 0; i < how_many; ++i) {
    const Readers list = lists[long_lists[i]];
    sort_many(p.readers + list.first, list.count);
  }
}

}  // namespace

template <class S>
cudaError_t transpose_sampling(const SamplingTranspose<S>& p, cudaStream_t stream) {
  const int64_t blocks = p.tiles().count();
  cudaError_t status = cudaMemsetAsync(p.lists, 0, (1 + blocks * threads) * sizeof(Readers), stream);
  const bool plain = is_plain(p.motion);
  const auto count = plain ? count_kernel<true, S> : count_kernel<false, S>;
  const auto fill = plain ? fill_kernel<true, S> : fill_kernel<false, S>;
  for (auto kernel : {count, allot_kernel<S>, fill, sort_kernel<S>}) {
    if (status == cudaSuccess) status = launch(kernel, blocks, threads, 0, stream, p);
  }
  return status;
}

template cudaError_t transpose_sampling(const SamplingTranspose<float>&, cudaStream_t);
template cudaError_t transpose_sampling(const SamplingTranspose<double>&, cudaStream_t);

}  // namespace internet::cuda
