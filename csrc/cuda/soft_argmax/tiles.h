// How blocks, and the threads of a block, divide heat maps.
//
// Neighbouring threads process what lies side by side in memory: pixels of one heat map (contiguous), in runs
// of four if the row length allows, or anchors of one pixel (channels_last).
#pragma once

#include "cuda/runtime/launch.h"
#include "cuda/runtime/tiles.h"
#include "cuda/soft_argmax/kernels.h"

namespace internet::cuda {

constexpr int block_threads = 256;
// A pixel of a volume has nine numbers of a map: runs of them would not fit into the registers.
template <int N>
constexpr int longest_run = N == 2 ? 4 : 1;
constexpr int pixels_of_a_thread = 8;  // if it sums over them
constexpr int most_columns = 32;

// How a block's threads divide the work: `columns` neighbouring threads process the same pixels for one
// anchor each. Each of the lanes processes runs of `run` neighbouring pixels; a row is a whole number of
// runs.
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

// The part of a block.
struct Share {
  int64_t image, tile, first_anchor;

  INTERNET_MEMBER Share(int64_t block, int64_t tiles, int64_t groups, int columns) {
    const int64_t line = block / groups;
    first_anchor = (block - line * groups) * columns;
    image = line / tiles;
    tile = line - image * tiles;
  }
};

// Sums over the block's tile, for each of its anchors, into p.partials. First each thread calls sum(image,
// anchor, first pixel, step), which stores the sum over its pixels in shared memory. Then for each anchor all
// 32 lanes of a warp call merge(lanes, thread_of), which returns the sum of the anchor's lanes to lane 0;
// thread_of(i) is the thread that stored the sum of lane i.
template <int run, class P, class Sum, class Merge>
__device__ __forceinline__ void sum_tile(const P& p, Sum sum, Merge merge) {
  const auto& in = p.in;
  const Arrangement by = arrange(in, false);
  const Share share(blockIdx.x, p.tiles, ceiling(in.anchors, by.columns), by.columns);
  const int thread = threadIdx.x, lane = thread / by.columns, warp = thread / warp_size;
  const int64_t anchor = share.first_anchor + thread % by.columns;
  const int64_t first = share.tile * by.lanes * pixels_of_a_thread + lane * run;
  if (lane < by.lanes && anchor < in.anchors) sum(share.image, anchor, first, by.lanes * run);
  __syncthreads();
  for (int c = warp; c < by.columns && share.first_anchor + c < in.anchors; c += block_threads / warp_size) {
    const auto merged = merge(by.lanes, [&](int64_t i) { return int(i) * by.columns + c; });
    const int64_t plane = share.image * in.anchors + share.first_anchor + c;
    if (thread % warp_size == 0) p.partials[plane * p.tiles + share.tile] = merged;
  }
}

// A block for each tile of each group of anchors. The kernel has two variants: with runs of one pixel, and of
// the longest run.
template <class P>
cudaError_t launch_sums(void (*of_pixels)(P), void (*of_runs)(P), int numbers_of_a_thread, const P& p,
                        cudaStream_t stream) {
  const Arrangement by = arrange(p.in, false);
  const int64_t blocks = p.in.grid.batch * p.tiles * ceiling(p.in.anchors, by.columns);
  const size_t shared_bytes = numbers_of_a_thread * block_threads * sizeof(typename P::S);
  return launch(by.run == 1 ? of_pixels : of_runs, blocks, block_threads, shared_bytes, stream, p);
}

}  // namespace internet::cuda
