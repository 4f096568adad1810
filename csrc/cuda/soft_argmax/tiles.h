// The part of a block and of its threads, and sums over a block's tile.
#pragma once

#include "cuda/runtime/launch.h"
#include "cuda/soft_argmax/kernels.h"

namespace internet::cuda {

// The number of groups of anchors: a group has a column of threads for each.
template <class T, int N>
INTERNET_HD int64_t groups_of(const HeatMaps<T, N>& in) {
  return in.anchors_in_turn ? 1 : ceiling(in.anchors, in.by.columns);
}

// The part of a thread.
struct Share {
  int64_t image, tile, first_anchor;
  int column, lane;

  template <class T, int N>
  __device__ __forceinline__ explicit Share(const HeatMaps<T, N>& in) {
    // unsigned, because divisions of 32 bits are cheap
    const unsigned groups = groups_of(in), tiles = in.by.tiles, line = blockIdx.x / groups;
    first_anchor = int64_t(blockIdx.x - line * groups) * in.by.columns;
    image = line / tiles;
    tile = line - unsigned(image) * tiles;
    lane = int(unsigned(threadIdx.x) / unsigned(in.by.columns));
    column = threadIdx.x - lane * in.by.columns;
  }

  INTERNET_MEMBER int64_t anchor() const { return first_anchor + column; }
  // Whether the thread has anything to do.
  template <class T, int N>
  INTERNET_MEMBER bool is_of(const HeatMaps<T, N>& in) const {
    return lane < in.by.lanes && anchor() < in.anchors;
  }
  INTERNET_MEMBER Place first_run(const Arrangement& by) const {
    return by.place_of_run(unsigned(tile) * by.lanes * by.turns + lane);
  }
};

// Calls visit(place) with the first pixels of a thread's runs, `batch` at a time, so that as many loads are
// in flight. Those past the end are not `inside`.
template <int batch, class Visit>
__device__ __forceinline__ void each_run(const Arrangement& by, const Share& share, Visit visit) {
  Place next = share.first_run(by);
#pragma unroll 1
  for (int turn = 0; turn < by.turns && by.inside(next); turn += batch) {
    Place place[batch];
#pragma unroll
    for (int b = 0; b < batch; ++b) {
      place[b] = next;
      by.advance(next);
    }
    visit(place);
  }
}

// Sums over the block's tile, for each of its anchors, into p.partials. First each thread calls sum(share),
// which stores the sum over its pixels in shared memory. Then for each anchor all 32 lanes of a warp call
// merge(lanes, thread_of), which returns the sum of the anchor's lanes to lane 0; thread_of(i) is the thread
// that stored the sum of lane i.
template <class P, class Sum, class Merge>
__device__ __forceinline__ void sum_tile(const P& p, Sum sum, Merge merge) {
  const auto& in = p.in;
  const Share share(in);
  const int thread = threadIdx.x, warp = thread / warp_size;
  if (share.is_of(in)) sum(share);
  __syncthreads();
  for (int c = warp; c < in.by.columns && share.first_anchor + c < in.anchors;
       c += block_threads / warp_size) {
    const auto merged = merge(in.by.lanes, [&](int64_t i) { return int(i) * in.by.columns + c; });
    const int64_t plane = share.image * in.anchors + share.first_anchor + c;
    if (thread % warp_size == 0) p.partials[plane * in.by.tiles + share.tile] = merged;
  }
}

// A block for each tile of each group of anchors.
template <class P>
cudaError_t launch_tiles(void (*kernel)(P), int numbers_of_a_thread, const P& p, cudaStream_t stream) {
  const int64_t blocks = p.in.grid.batch * p.in.by.tiles * groups_of(p.in);
  const size_t shared_bytes = numbers_of_a_thread * block_threads * sizeof(typename P::S);
  return launch(kernel, blocks, block_threads, shared_bytes, stream, p);
}

}  // namespace internet::cuda
