// How blocks, and the threads of a block, share heat maps.
//
// Neighbouring threads do what lies side by side in memory: pixels of one heat map (contiguous), a run of
// four each where rows allow, or anchors of one pixel (channels_last).
#pragma once

#include "cuda/runtime/launch.h"
#include "cuda/runtime/tiles.h"
#include "cuda/soft_argmax/kernels.h"

namespace internet::cuda {

constexpr int block_threads = 256;
// A pixel of a volume has nine numbers of a map: runs of them would not fit the registers.
template <int N>
constexpr int longest_run = N == 2 ? 4 : 1;
constexpr int pixels_of_a_thread = 8;  // where it sums them up
constexpr int most_columns = 32;

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

// A block for each tile of each group of anchors that it does together; of sums over heat maps.
template <class P>
cudaError_t launch_tiles(void (*kernel)(P), int numbers_of_a_thread, const P& p, cudaStream_t stream) {
  const Arrangement by = arrange(p.in, false);
  const int64_t blocks = p.in.grid.batch * p.tiles * ceiling(p.in.anchors, by.columns);
  return launch(kernel, blocks, block_threads, numbers_of_a_thread * block_threads * sizeof(typename P::S),
                stream, p);
}

}  // namespace internet::cuda
