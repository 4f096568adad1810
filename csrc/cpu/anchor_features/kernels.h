// Parameters of the anchor-features kernels, for images (N = 2) and volumes (N = 3). A row extends along x,
// and rows are numbered consecutively through all other axes. What is said of rows, columns and pixels also
// holds for volumes.
//
// The source is first copied, pixel by pixel, into an image with a frame of zeros around it. Samples at its
// border then need no masks, and samples outside read the frame's corner. Each pixel's vectors of four hold a
// zero followed by the channels, which is how an anchor's output is laid out: its heat map, then its
// channels. Where the zero would take an additional vector, they hold the channels alone.
//
// The gradient with respect to the source is divided into *bands*, ranges of its coordinate y: a task
// accumulates the pixels of its own band, in a framed image of that height, from all output rows that read
// them, in order. The other gradients are sums over output rows, each of which is counted in exactly one
// band. So no two tasks write the same value, and the bands depend on the shapes alone: any number of threads
// gives the same bits.
#pragma once

#include "arguments/strided.h"
#include "cpu/runtime/isa.h"
#include "cpu/sampling/row_range.h"
#include "cpu/simd/simd.h"
#include "math/anchor_features.h"

namespace internet::cpu {

// An image with a frame, in blocks of four values per pixel. The frame is one pixel before the image and one
// after it, and two after it along the slowest axis.
template <int N>
struct FramedShape {
  int64_t blocks, size[N];  // of the image, x first

  int64_t extent(int axis) const { return size[axis] + (axis == N - 1 ? 3 : 2); }
  int64_t stride(int axis) const { return axis == 0 ? 1 : stride(axis - 1) * extent(axis - 1); }  // in pixels
  int64_t pitch() const { return extent(0); }
  int64_t rows() const { return pixels() / pitch(); }
  int64_t pixels() const { return stride(N - 1) * extent(N - 1); }
  int64_t block_size() const { return pixels() * 4; }
  int64_t row_size() const { return pitch() * 4; }
  int64_t total() const { return blocks * block_size(); }

  // The shape of a band with this many rows.
  FramedShape band(int64_t rows) const {
    FramedShape part = *this;
    part.size[1] = rows;
    return part;
  }
};

template <int N>
struct AnchorFeaturesShape {
  int64_t channels, size[N], anchors;
  FramedShape<N> framed;
  int lead;  // values before the channels in a framed pixel: 1 or 0
  bool grid_align_corners;

  int64_t rows() const { return N == 2 ? size[1] : size[1] * size[N - 1]; }
  int64_t factors() const { return N == 2 ? size[0] + size[1] : size[0] + size[1] + size[N - 1]; }
  // The coordinates of a row; its x is 0.
  void locate(int64_t row, int64_t (&at)[N]) const {
    at[0] = 0;
    for (int axis = 1; axis < N; row /= size[axis++]) at[axis] = row % size[axis];
  }
};

// Tasks: every row of every framed image and then, if there are factors, every anchor.
template <class T, int N>
struct AnchorFeaturesPrepare {
  using S = opmath<T>;
  AnchorFeaturesShape<N> shape;
  int64_t batch;
  Strided<const T, N + 2> source;
  S* framed;                                  // (B, framed)
  const math::HeatMap<double, N>* heat_maps;  // (B, K)
  S* factors;  // (B, K, 2, factors): of the driving Gaussian and the source's, axis after axis
  S per_twice_variance;
};

// Input of both directions.
template <class T, int N>
struct AnchorFeaturesInputs {
  using S = opmath<T>;
  AnchorFeaturesShape<N> shape;
  const S* framed;
  const S* factors;  // null: Gaussians with covariances
  const math::HeatMap<double, N>* heat_maps;
  const math::Affine<double, N>* motions;          // (B, K+1), in pixels
  const math::Projective<double, N>* backgrounds;  // (B), in pixels: replace the first motions; null: none
};

// Tasks: every row of every output.
template <class T, int N>
struct AnchorFeaturesForward {
  AnchorFeaturesInputs<T, N> inputs;
  Strided<T, N + 2> output;  // (B, (K+1)(1+C), ...)
};

// The range of the source coordinate y in which an output row's samples lie, including pixels of weight zero.
// Tasks: every row of every output.
template <class T, int N>
struct AnchorFeaturesRowRanges {
  AnchorFeaturesInputs<T, N> inputs;
  RowRange* row_ranges;  // (B, rows, K+1)
};

// Tasks: every band of every image.
template <class T, int N>
struct AnchorFeaturesBackward {
  AnchorFeaturesInputs<T, N> inputs;
  int64_t bands;
  const RowRange* row_ranges;  // for the source
  Strided<const T, N + 2> grad_output;
  Strided<T, N + 2> grad_source;  // no data: not wanted
  // Whether the partial sums below are wanted, and those of the motions' matrices with them. They start as 0.
  bool to_anchors, to_jacobians;
  math::Affine<double, N>* motion_partials;          // (B, bands, K), in pixels
  math::Projective<double, N>* background_partials;  // (B, bands), if there are backgrounds
  math::HeatMapMoments<double, N>* heat_partials;    // (B, bands, K)
};

}  // namespace internet::cpu

INTERNET_DECLARE_KERNEL_OF_AXES(anchor_features_prepare, AnchorFeaturesPrepare)
INTERNET_DECLARE_KERNEL_OF_AXES(anchor_features_forward, AnchorFeaturesForward)
INTERNET_DECLARE_KERNEL_OF_AXES(anchor_features_row_ranges, AnchorFeaturesRowRanges)
INTERNET_DECLARE_KERNEL_OF_AXES(anchor_features_backward, AnchorFeaturesBackward)
