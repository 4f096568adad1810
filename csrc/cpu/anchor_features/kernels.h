// Parameters of the anchor-features kernels.
//
// The source is first copied, pixel by pixel, into an image with a frame of zeros around it, so that samples
// at its border need no masks, and those out of it read the frame's corner. The pixels' vectors of four hold
// a zero and then the channels, which is how an anchor's output is laid out: its heat map, then its channels.
//
// For the gradient of the source, a task scatters into a framed image of its own, a part, and a second kernel
// adds the parts up in order. Both depend on the shapes alone: any number of threads gives the same bits.
#pragma once

#include "arguments/strided.h"
#include "cpu/runtime/isa.h"
#include "cpu/simd/simd.h"
#include "math/anchor_features.h"

namespace internet::cpu {

// Rows -1 to height + 1 and columns -1 to width of an image, in blocks of four values per pixel.
struct FramedShape {
  int64_t blocks, height, width;

  int64_t rows() const { return height + 3; }
  int64_t pitch() const { return width + 2; }
  int64_t block_size() const { return rows() * pitch() * 4; }
  int64_t size() const { return blocks * block_size(); }
  int64_t row(int64_t block, int64_t y) const { return block * block_size() + (y + 1) * pitch() * 4; }
};

struct AnchorFeaturesShape {
  int64_t channels, height, width, anchors;
  FramedShape framed;
  bool grid_align_corners;
};

// Tasks: every row of every framed image, then every anchor's Gaussian factors.
template <class T>
struct AnchorFeaturesPrepare {
  using S = opmath<T>;
  AnchorFeaturesShape shape;
  int64_t batch;
  Strided<const T, 4> source;
  S* framed;                                     // (B, framed)
  const math::KeyPoints<double, 2>* key_points;  // (B, K)
  S* factors;  // (B, K, 2 * (W + H)): columns and rows of the driving, then of the source
  S per_twice_variance;
};

// Tasks: every row of every output.
template <class T>
struct AnchorFeaturesForward {
  using S = opmath<T>;
  AnchorFeaturesShape shape;
  const S* framed;
  const S* factors;
  const math::Affine<double, 2>* motion;  // (B, K+1), in pixels
  Strided<T, 4> output;                   // (B, (K+1)(1+C), H, W)
};

// What one part of an output's rows adds to the gradient of an anchor.
struct AnchorPartial {
  math::Affine<double, 2> motion;  // in pixels
  math::KeyPoints<double, 2> heat;
};

// Tasks: every part of every image.
template <class T>
struct AnchorFeaturesBackward {
  using S = opmath<T>;
  AnchorFeaturesShape shape;
  int64_t parts;
  const S* framed;
  const S* factors;
  const math::KeyPoints<double, 2>* key_points;
  const math::Affine<double, 2>* motion;
  double per_variance;
  Strided<const T, 4> grad_output;
  S* scattered;             // (B, parts, framed); null: not wanted
  uint8_t* touched;         // (B, parts, framed rows): whether the row holds anything; zero at first
  AnchorPartial* partials;  // (B, parts, K); null: not wanted
};

// Tasks: every row of every source.
template <class T>
struct AnchorFeaturesGather {
  using S = opmath<T>;
  AnchorFeaturesShape shape;
  int64_t parts;
  const S* scattered;
  const uint8_t* touched;
  Strided<T, 4> grad_source;
};

}  // namespace internet::cpu

INTERNET_DECLARE_KERNEL(anchor_features_prepare, AnchorFeaturesPrepare)
INTERNET_DECLARE_KERNEL(anchor_features_forward, AnchorFeaturesForward)
INTERNET_DECLARE_KERNEL(anchor_features_backward, AnchorFeaturesBackward)
INTERNET_DECLARE_KERNEL(anchor_features_gather, AnchorFeaturesGather)
