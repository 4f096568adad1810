#include "cuda/confidence_warp/sampled_motion.h"
#include "cuda/confidence_warp/sampling_transpose.h"
#include "cuda/confidence_warp/tile_readers.h"
#include "cuda/runtime/launch.h"
#include "cuda/runtime/own_pixel.h"
#include "cuda/runtime/prefix_sum.h"

namespace internet::cuda {
namespace {

constexpr int threads = ReaderTiles::pixels;

// What an output pixel reads: its sample, and the lists of the four pixels, from the north-west on.
template <class S>
struct Reads {
  BilinearSample<S> sample;
  uint32_t* lists[4];
  uint32_t pixel;  // in its image
  int64_t index;   // among all images
  bool inside;

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
  r.inside = own.inside;
  if (!own.inside) return r;
  r.sample = sample_of(p.motion, motion_at<plain>(p.motion, p.first_image + tile.image, own.row, own.column));
  r.pixel = uint32_t(own.row * p.motion.width + own.column);
  r.index = tile.image * p.motion.height * p.motion.width + r.pixel;
  const int64_t lines = tile.image * tiles.down();
#pragma unroll
  for (int corner = 0; corner < 4; ++corner) {
    const int row = r.sample.row + corner / 2, column = r.sample.column + corner % 2;
    const int64_t of_tile =
        (lines + row / ReaderTiles::height) * tiles.across() + column / ReaderTiles::width;
    r.lists[corner] = p.begins + of_tile * tile_begins + row % ReaderTiles::height * ReaderTiles::width +
                      column % ReaderTiles::width;
  }
  return r;
}

template <bool plain, class S>
__global__ void __launch_bounds__(threads) count_kernel(SamplingTranspose<S> p) {
  const Reads<S> r = reads_of<plain>(p);
  uint32_t place[4] = {};
#pragma unroll
  for (int corner = 0; corner < 4; ++corner) {
    if (r.read(corner)) place[corner] = atomicAdd(r.lists[corner], 1u);
  }
  if (r.inside) p.places[r.index] = {place[0], place[1], place[2], place[3]};
}

// Gives each list its range of the readers, in any order of the blocks.
template <class S>
__global__ void __launch_bounds__(threads) assign_kernel(SamplingTranspose<S> p) {
  __shared__ uint32_t of_warp[threads / warp_size], first_of_block;
  uint32_t* begins = p.begins + int64_t(blockIdx.x) * tile_begins;
  const auto [before, all] = prefix_sum(begins[threadIdx.x], of_warp);
  if (threadIdx.x == 0) {
    first_of_block = atomicAdd(p.assigned, all);
    begins[threads] = first_of_block + all;
  }
  __syncthreads();
  begins[threadIdx.x] = first_of_block + before;
}

template <bool plain, class S>
__global__ void __launch_bounds__(threads) fill_kernel(SamplingTranspose<S> p) {
  const Reads<S> r = reads_of<plain>(p);
  if (!r.sample.reads) return;
  const uint4 places = p.places[r.index];
  const uint32_t place[4] = {places.x, places.y, places.z, places.w};
#pragma unroll
  for (int corner = 0; corner < 4; ++corner) {
    if (r.read(corner))
      p.readers[*r.lists[corner] + place[corner]] = {4 * r.pixel + corner, r.weight(corner)};
  }
}

// Sorts a list by merging: ranges of length `half` are merged into ranges twice as long. The first
// comparisons of a merge are with the mirror image, so that every comparison puts the smaller value first,
// and a count that is not a power of two needs no padding: what lies beyond the end counts as the largest.
// Must be called by all threads of the block.
template <class S>
__device__ __forceinline__ void sort_many(Reader<S>* readers, int64_t count) {
  auto order = [&](int64_t low, int64_t high) {
    if (high >= count) return;
    const Reader<S> a = readers[low], b = readers[high];
    if (a.key <= b.key) return;
    readers[low] = b;
    readers[high] = a;
  };
  for (int64_t half = 1; half < count; half *= 2) {
    for (int64_t step = half; step > 0; step /= 2) {
      for (int64_t i = threadIdx.x; i < (count + 2 * half) / 2; i += threads) {
        const int64_t place = i & (step - 1), block = 2 * (i - place);  // steps are powers of two
        order(block + place, step == half ? block + 2 * step - 1 - place : block + step + place);
      }
      __syncthreads();
    }
  }
}

// The shared memory of a block that sorts.
template <class S>
struct Sorting {
  Reader<S> readers[staged_readers<S>];
  uint8_t owner[staged_readers<S>];  // the list that a reader is in
  uint32_t begin[tile_begins];
};
static_assert(threads == 256);

// Sorts lists first .. last - 1, which fit into shared memory. If each thread sorted a list, the block would
// wait for the longest one. So each reader finds its own place, by counting those before it. Must be called
// by all threads of the block.
template <class S>
__device__ __forceinline__ void sort_lists(Reader<S>* readers, Sorting<S>& sorting, int first, int last) {
  const int own = threadIdx.x;
  const uint32_t start = sorting.begin[first], length = sorting.begin[last] - start;
  if (own >= first && own < last) {
    for (uint32_t i = sorting.begin[own]; i < sorting.begin[own + 1]; ++i) {
      sorting.owner[i - start] = uint8_t(own);
    }
  }
  for (uint32_t i = threadIdx.x; i < length; i += threads) sorting.readers[i] = readers[start + i];
  __syncthreads();
  for (uint32_t i = threadIdx.x; i < length; i += threads) {
    const Reader<S> reader = sorting.readers[i];
    const int list = sorting.owner[i];
    const uint32_t begin = sorting.begin[list], end = sorting.begin[list + 1];
    uint32_t place = begin;
    for (uint32_t j = begin; j < end; ++j) place += sorting.readers[j - start].key < reader.key ? 1 : 0;
    readers[place] = reader;
  }
  __syncthreads();
}

// A block sorts the lists of a tile, as many at a time as fit into shared memory.
template <class S>
__global__ void __launch_bounds__(threads) sort_kernel(SamplingTranspose<S> p) {
  __shared__ Sorting<S> sorting;
  const uint32_t* begins = p.begins + int64_t(blockIdx.x) * tile_begins;
  for (int i = threadIdx.x; i < tile_begins; i += threads) sorting.begin[i] = begins[i];
  __syncthreads();
  for (int first = 0; first < threads;) {
    int last = lists_within(sorting.begin, first, sorting.begin[first], staged_readers<S>);
    if (last == first) {
      ++last;
      sort_many(p.readers + sorting.begin[first], sorting.begin[last] - sorting.begin[first]);
    } else {
      sort_lists(p.readers, sorting, first, last);
    }
    first = last;
  }
}

}  // namespace

template <class S>
cudaError_t transpose_sampling(const SamplingTranspose<S>& p, cudaStream_t stream) {
  const int64_t blocks = p.tiles().count();
  cudaError_t status = cudaMemsetAsync(p.assigned, 0, sizeof(uint32_t), stream);
  if (status == cudaSuccess) {
    status = cudaMemsetAsync(p.begins, 0, blocks * tile_begins * sizeof(uint32_t), stream);
  }
  const bool plain = is_plain(p.motion);
  const auto count = plain ? count_kernel<true, S> : count_kernel<false, S>;
  const auto fill = plain ? fill_kernel<true, S> : fill_kernel<false, S>;
  for (auto kernel : {count, assign_kernel<S>, fill, sort_kernel<S>}) {
    if (status == cudaSuccess) status = launch(kernel, blocks, threads, 0, stream, p);
  }
  return status;
}

template cudaError_t transpose_sampling(const SamplingTranspose<float>&, cudaStream_t);
template cudaError_t transpose_sampling(const SamplingTranspose<double>&, cudaStream_t);

}  // namespace internet::cuda
