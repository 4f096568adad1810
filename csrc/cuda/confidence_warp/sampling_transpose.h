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
// of the list, fill the ranges, and sort each of them, since threads count in no particular order. The ranges
// of a tile of pixels are consecutive, so a block can sort and read them in shared memory.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

#include "cuda/confidence_warp/kernels.h"
#include "cuda/runtime/tiles.h"

namespace internet::cuda {

// An output pixel, row * width + column, that reads a pixel of the image as one of its corners (0 to 3, from
// the north-west on), and the weight of that pixel in it.
template <class S>
struct alignas(2 * sizeof(S)) Reader {
  uint32_t key;  // 4 * pixel + corner
  S weight;

  INTERNET_MEMBER uint32_t pixel() const { return key / 4; }
  INTERNET_MEMBER int corner() const { return int(key % 4); }
};
constexpr int64_t most_pixels = (int64_t(1) << 30) - 1;  // of an image: a key has 32 bits

// The lists of pixels in the order of tiles, and row after row within a tile, including those past the
// image's edge. List i of a tile is readers[begin[i]] .. readers[begin[i + 1] - 1].
using ReaderTiles = Tiles<32, 8>;
constexpr int tile_begins = ReaderTiles::pixels + 1;

// How many readers a block holds in shared memory. A pixel usually has four.
template <class S>
constexpr int staged_readers = 16384 / sizeof(Reader<S>);

template <class S>
struct SamplingTranspose {
  SampledMotion<S> motion;
  int64_t first_image, images;
  uint32_t* assigned;  // how many readers have their place
  uint32_t* begins;    // (tiles, tile_begins); at first, how many readers a pixel has
  uint4* places;       // (images, height, width): an output pixel's places in the lists of its corners
  Reader<S>* readers;  // (images, height, width, 4)

  INTERNET_MEMBER ReaderTiles tiles() const { return {images, 1, motion.height, motion.width}; }
};

// The gradient with respect to the features of some images, from the readers of each pixel; and, on the way,
// the dot products that the gradient with respect to the motion is made of.
template <class T>
struct WarpFeaturesBackward {
  const uint32_t* begins;
  const Reader<opmath<T>>* readers;
  int64_t first_image, images, channels, height, width;
  Strided<const T, 4> features, grad_output;
  Strided<T, 4> grad_features;
  CornerDots<opmath<T>> dots;  // no data: not wanted

  // Offset of a pixel of grad_output in its image.
  INTERNET_MEMBER int64_t place(uint32_t pixel) const {
    const uint32_t row = pixel / uint32_t(width);
    return row * grad_output.stride[2] + (pixel - row * uint32_t(width)) * grad_output.stride[3];
  }
};

template <class S>
cudaError_t transpose_sampling(const SamplingTranspose<S>& params, cudaStream_t stream);
template <class T>
cudaError_t warp_features_backward(const WarpFeaturesBackward<T>& params, bool vectors, cudaStream_t stream);
// How many layers of channels have dot products of their own.
template <class T>
int64_t warp_features_backward_layers(int64_t channels, bool vectors);

}  // namespace internet::cuda
