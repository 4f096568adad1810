// The samples of an image, indexed by the pixels that they read.
//
// Bilinear sampling is a sparse matrix, the same for all channels, with a row for each output pixel and at
// most four weights in it. The gradient of the image is the transposed matrix applied to the gradient of the
// output. Computed from the rows it is a scatter, where atomics add up in an unpredictable order. So the
// matrix itself is transposed, once for all channels, and the gradient is then a gather like the forward
// pass: every value is written once, in the type of the image, and summed in a fixed order, with the same
// bits every time.
//
// Transposing is a counting sort: count the readers of each pixel of the image, assign each pixel its range
// of the list, fill the ranges, and sort each of them, since threads fill it in no particular order. The
// ranges of a tile of pixels are consecutive: the block that gathers for the tile loads them into shared
// memory and sorts them there (tile_readers.h). Those that it cannot sort are sorted beforehand.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

#include "cuda/confidence_warp/kernels.h"
#include "cuda/runtime/tiles.h"

namespace internet::cuda {

// An output pixel that reads a pixel of the image, as row * width + column, and the weight of that pixel in
// it.
template <class S>
struct alignas(2 * sizeof(S)) Reader {
  uint32_t pixel;
  S weight;
};

// The readers of one pixel of an image: readers[first] .. readers[first + count - 1].
struct alignas(16) Readers {
  int64_t first;
  int count, filled;
};

// The lists of pixels in the order of tiles, and row after row within a tile, including those past the
// image's edge.
using ReaderTiles = Tiles<32, 8>;
constexpr int few_readers = 32;                          // sorted by a single thread
constexpr int staged_readers = 8 * ReaderTiles::pixels;  // fit into shared memory; a pixel usually has four

template <class S>
struct SamplingTranspose {
  SampledMotion<S> motion;
  int64_t first_image, images;
  Readers* lists;      // first a list that counts the readers assigned so far, then those of all tiles
  Reader<S>* readers;  // (images, height, width, 4)

  INTERNET_MEMBER ReaderTiles tiles() const { return {images, 1, motion.height, motion.width}; }
};

// The gradient with respect to the features of some images, from the readers of each pixel.
template <class T>
struct WarpFeaturesBackward {
  const Readers* lists;  // of all tiles
  const Reader<opmath<T>>* readers;
  int64_t first_image, images, channels, height, width;
  Strided<const T, 4> grad_output;
  Strided<T, 4> grad_features;

  // Offset of a pixel of grad_output in its image.
  INTERNET_MEMBER int64_t place(uint32_t pixel) const {
    const int64_t row_stride = grad_output.stride[2], column_stride = grad_output.stride[3];
    if (row_stride == width * column_stride) return pixel * column_stride;
    const uint32_t row = pixel / uint32_t(width);
    return row * row_stride + (pixel - row * uint32_t(width)) * column_stride;
  }
};

template <class S>
cudaError_t transpose_sampling(const SamplingTranspose<S>& params, cudaStream_t stream);
template <class T>
cudaError_t warp_features_backward(const WarpFeaturesBackward<T>& params, bool vectors, cudaStream_t stream);

}  // namespace internet::cuda
