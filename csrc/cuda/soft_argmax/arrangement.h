// How blocks, and the threads of a block, divide heat maps.
//
// A thread processes runs of neighbouring pixels of a row. Neighbouring threads process what lies side by
// side in memory: runs of one heat map (contiguous), or the same run for several anchors (channels_last).
#pragma once

#include <algorithm>

#include "cuda/runtime/pixel_tiles.h"
#include "cuda/runtime/tiles.h"

namespace internet::cuda {

constexpr int block_threads = 256;
constexpr int most_columns = 32;
constexpr int64_t most_pixels = int64_t(1) << 30;  // of a heat map, so that they are counted in 32 bits

// Pixels of a run: one vector of 16 bytes, if the pixels are neighbours in memory, or two. A run has nine
// times as many values of a map of volumes.
template <class T, bool with_map>
constexpr int run_length = (with_map || sizeof(T) == 2 ? 16 : 32) / sizeof(T);

// The first pixel of a run. An image is a volume of one slice.
struct Place {
  unsigned slice, row, column;
};

struct Arrangement {
  int columns;    // neighbouring threads that process the same pixels for one anchor each
  int lanes;      // of a block: threads, or columns of threads, with different pixels
  int turns;      // runs that each lane processes, `lanes` runs apart
  int64_t tiles;  // of lanes * turns runs, in a heat map
  // The size of a heat map; a row is rounded up to whole runs, of which there are `across`.
  unsigned depth, height, width, across, run;
  Place step;  // from a lane's run to its next

  INTERNET_MEMBER Place place_of_run(unsigned run_index) const {
    const unsigned line = run_index / across, slice = line / height;
    return {slice, line - slice * height, (run_index - line * across) * run};
  }
  INTERNET_MEMBER bool inside(const Place& place) const { return place.slice < depth; }
  INTERNET_MEMBER void advance(Place& place) const {
    place.column += step.column;
    place.row += step.row;
    place.slice += step.slice;
    if (place.column >= width) {
      place.column -= width;
      ++place.row;
    }
    if (place.row >= height) {
      place.row -= height;
      ++place.slice;
    }
  }
};

// `columns`: 1, or the number of anchors if they lie side by side. `run`: run_length.
template <class S, int N>
Arrangement arrange(const PixelGrid<S, N>& grid, int64_t columns, int run, int turns) {
  Arrangement by;
  by.columns = int(std::clamp<int64_t>(columns, 1, most_columns));
  by.lanes = block_threads / by.columns;
  by.turns = turns;
  by.depth = N == 2 ? 1 : unsigned(grid.size[0]);
  by.height = unsigned(grid.height());
  by.across = unsigned(ceiling(grid.width(), run));
  by.width = by.across * run;
  by.run = run;
  by.tiles = ceiling(int64_t(by.depth) * by.height * by.across, by.lanes * turns);
  by.step = by.place_of_run(by.lanes);
  return by;
}

}  // namespace internet::cuda
