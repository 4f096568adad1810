// A block's tile: its layout in shared memory, how it is loaded, and how large it is.
//
// The logits of a tile are staged in shared memory. So each is read only once, however often the formulas
// need it, and in the order in which it lies in global memory: with the pixels of a channel side by side
// (contiguous) a warp reads neighbouring pixels; with the channels of a pixel side by side (channels_last)
// the block reads its tile from end to end.
#pragma once

#include "cuda/affine_mixture/kernels.h"
#include "cuda/runtime/launch.h"
#include "cuda/runtime/vectors.h"
#include "math/affine_mixture.h"

namespace internet::cuda {

constexpr int most_threads = 256;

// An anchor's motion, aligned so that few loads fetch it: an affine map, or a translation if no anchor has
// Jacobians.
template <class S, int N>
struct alignas(4 * sizeof(S)) AnchorMap {
  static constexpr bool translated = false;
  math::Affine<S, N> affine;

  template <class T>
  INTERNET_MEMBER void set(const AffineMixture<T, N>& p, int64_t image, int k) {
    affine = p.affine[image * p.anchors + k];
  }
  INTERNET_MEMBER auto row(const math::Point<S, N>& z) const { return affine.row(z); }
};
template <class S, int N>
struct alignas(4 * sizeof(S)) AnchorTranslation {
  static constexpr bool translated = true;
  math::Translation<S, N> translation;

  template <class T>
  INTERNET_MEMBER void set(const AffineMixture<T, N>& p, int64_t image, int k) {
    translation = math::anchor_translation(p.views.points_at(image, k)).template to<S>();
  }
  INTERNET_MEMBER auto row(const math::Point<S, N>& z) const { return translation.row(z); }
};

// What a pixel contributes to the gradients of the maps is determined by the gradient g with respect to the
// weighted sum of the motions, the sum of the exponentials, from which their weights follow, and the pixel's
// position z.
template <class S, int N>
struct alignas(4 * sizeof(S)) Pull {
  math::Point<S, N> g;
  S total;
};
template <class S, int N>
struct alignas((N == 2 ? 2 : 4) * sizeof(S)) PullPosition {
  math::Point<S, N> z;
};

// The layout of a block's shared memory, or scratch. `values` (threads, pitch), with a thread's pixel along
// the first axis, are the tile's logits; the backward pass then replaces them by their exponentials, and
// finally by their gradients. The pitch is no multiple of four, so that at most two lanes of a warp, which
// has a pixel each, use the same bank.
template <class Map, class S, int N>
struct TileMemory {
  Map* maps;                      // (K)
  Pull<S, N>* pulls;              // (threads), backward only
  PullPosition<S, N>* positions;  // (threads), backward only
  S* values;
  int channels, pitch;

  INTERNET_MEMBER TileMemory(unsigned char* memory, int anchors, int threads, bool backward)
      : maps(reinterpret_cast<Map*>(memory)),
        pulls(reinterpret_cast<Pull<S, N>*>(maps + anchors)),
        positions(reinterpret_cast<PullPosition<S, N>*>(pulls + (backward ? threads : 0))),
        values(reinterpret_cast<S*>(positions + (backward ? threads : 0))),
        channels(anchors + 1),
        pitch(pitch_of(anchors)) {}

  INTERNET_MEMBER static int pitch_of(int anchors) { return anchors + 1 + ((anchors + 1) % 4 == 0); }
  static size_t bytes(int anchors, int threads, bool backward) {
    const size_t of_thread = backward ? sizeof(Pull<S, N>) + sizeof(PullPosition<S, N>) : 0;
    return sizeof(Map) * anchors + (of_thread + sizeof(S) * pitch_of(anchors)) * threads;
  }
};
static_assert(sizeof(AnchorMap<float, 2>) == 32 && sizeof(AnchorMap<double, 3>) == 96);

template <class Map, class T, int N>
INTERNET_HD void load_maps(const AffineMixture<T, N>& p, int64_t image, Map* maps, int thread, int threads) {
  for (int k = thread; k < p.anchors; k += threads) maps[k].set(p, image, k);
}

// Whether the values of a tile, `count` of them from `first` on, are whole vectors.
template <class T>
INTERNET_HD bool in_vectors(const T* first, int count) {
  return count % vector_length<T> == 0 && reinterpret_cast<uintptr_t>(first) % 16 == 0;
}

// Calls visit(i, value) with each value of the tile's memory that belongs into a vector, which begins at
// `offset` of a tensor that is stored pixel after pixel. If pixels are not stored closely, the number of
// channels is a multiple of four: so many values belong to the same pixel.
template <class T, class Memory, class Visit>
INTERNET_HD void each_value_of_vector(const Memory& memory, int offset, Visit visit) {
  constexpr int length = vector_length<T>, same = length < 4 ? length : 4;
  if (memory.pitch == memory.channels) {
#pragma unroll
    for (int i = 0; i < length; ++i) visit(i, memory.values[offset + i]);
  } else {
#pragma unroll
    for (int i = 0; i < length; i += same) {
      const int pixel = unsigned(offset + i) / unsigned(memory.channels);
#pragma unroll
      for (int j = i; j < i + same; ++j) visit(j, memory.values[offset + j + pixel]);
    }
  }
}

// A tile that is stored pixel after pixel, in vectors: a few of them are loaded before the first is needed.
template <class Memory, class T>
__device__ __forceinline__ void load_vectors(const Memory& memory, const T* from, int count, int thread,
                                             int threads) {
  constexpr int length = vector_length<T>, batch = 4;
  const int step = threads * length;
  for (int first = thread * length; first < count; first += batch * step) {
    Loaded<T, length> loaded[batch];
#pragma unroll
    for (int b = 0; b < batch; ++b) {
      if (first + b * step < count) loaded[b] = load_packed<length>(from + first + b * step);
    }
#pragma unroll
    for (int b = 0; b < batch; ++b) {
      if (first + b * step >= count) break;
      const auto vector = widen(loaded[b]);
      each_value_of_vector<T>(memory, first + b * step, [&](int i, auto& value) { value = vector.value[i]; });
    }
  }
}
template <class Memory, class T>
__device__ __forceinline__ void store_vectors(const Memory& memory, T* to, int count, int thread,
                                              int threads) {
  constexpr int length = vector_length<T>;
  for (int offset = thread * length; offset < count; offset += threads * length) {
    Values<opmath<T>, length> vector;
    each_value_of_vector<T>(memory, offset, [&](int i, auto& value) { vector.value[i] = value; });
    store(to + offset, vector);
  }
}

template <class Map, class T, int N>
__device__ __forceinline__ void load_tile(const AffineMixture<T, N>& p, const PixelTile& tile,
                                          const TileMemory<Map, opmath<T>, N>& memory, int thread) {
  load_maps(p, tile.image, memory.maps, thread, p.plan.threads);
  const int channels = memory.channels;
  const auto& stride = p.logits.stride;
  const T* image = p.logits.data + tile.image * stride[0];
  if (pixel_major(stride, channels, p.grid.size)) {
    const T* values = image + tile.first * channels;
    if (in_vectors(values, tile.count * channels)) {
      return load_vectors(memory, values, tile.count * channels, thread, p.plan.threads);
    }
    each_value(tile, channels, thread, p.plan.threads, [&](int offset, int channel, int pixel) {
      memory.values[pixel * memory.pitch + channel] = widen(values[offset]);
    });
  } else if (thread < tile.count) {
    const T* value = image + position(p.grid, tile.first + thread).offset(stride + 2);
#pragma unroll 8
    for (int k = 0; k < channels; ++k) memory.values[thread * memory.pitch + k] = load(value + k * stride[1]);
  }
}

// The largest value of a pixel, except for NaN.
template <class S>
INTERNET_HD S largest_of(const S* values, int channels) {
  S largest = values[0];
#pragma unroll 4
  for (int k = 1; k < channels; ++k) largest = std::fmax(largest, values[k]);
  return largest;
}

// T_0(z), the background's motion.
template <class T, class S, int N>
INTERNET_HD math::Point<S, N> still(const AffineMixture<T, N>& p, int64_t image, const math::Point<S, N>& z) {
  if (p.views.background.data == nullptr) return z;
  return math::from_homogeneous(projective<N>(p.views.background, image).row(z).at(z.axis[0]));
}

// The tile's memory: the block's shared memory, or its part of the scratch.
template <bool in_scratch, class P>
__device__ __forceinline__ unsigned char* tile_memory(const P& p, unsigned char* shared_memory) {
  if constexpr (in_scratch) return p.scratch + blockIdx.x * p.plan.shared_bytes;
  return shared_memory;
}

// The largest tile that fits into shared memory; otherwise the smallest, for scratch. `staged`: see TilePlan.
template <class S, int N>
TilePlan fitting(int anchors, bool backward, bool staged) {
  for (int threads = most_threads; threads >= warp_size; threads /= 2) {
    const size_t bytes = TileMemory<AnchorMap<S, N>, S, N>::bytes(anchors, threads, backward);
    if (bytes <= shared_bytes_of_a_block) return {threads, staged, bytes};
  }
  const size_t bytes = TileMemory<AnchorMap<S, N>, S, N>::bytes(anchors, warp_size, backward);
  constexpr size_t unit = sizeof(AnchorMap<S, N>);  // keeps the next block's memory aligned
  return {warp_size, staged, (bytes + unit - 1) / unit * unit};
}

// Kernels have five variants: with the tile in scratch, which handles a threshold of 0 and translations like
// any other; and with the tile in shared memory, with and without a threshold, for affine maps and for
// translations.
template <class P>
struct Variants {
  using Kernel = void (*)(P);
  Kernel in_scratch, thresholded, plain, thresholded_translations, plain_translations;

  Kernel of(const P& p) const {
    if (needs_scratch(p.plan)) return in_scratch;
    if (p.translations) return p.threshold > 0 ? thresholded_translations : plain_translations;
    return p.threshold > 0 ? thresholded : plain;
  }
};

// A block for each tile of each image.
template <class P>
cudaError_t launch_tiles(const Variants<P>& variants, const P& p, cudaStream_t stream) {
  const int64_t blocks = p.grid.batch * p.plan.tiles(p.grid.pixels());
  const size_t shared_bytes = needs_scratch(p.plan) ? 0 : p.plan.shared_bytes;
  return launch(variants.of(p), blocks, p.plan.threads, shared_bytes, stream, p);
}

}  // namespace internet::cuda
