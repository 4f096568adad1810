// Warping, backward: the gradient with respect to the features. Each pixel of the features gathers the
// gradients of the output pixels that read it (sampling_transpose.h), with the same two assignments of
// threads as in the forward pass.
//
// A pixel that has its readers' gradients at hand also has what the gradient with respect to the motion
// needs: the dot products of these with its own features. So they are computed here, too, if wanted: nothing
// else then has to read the features, nor the gradients again.
#include "cuda/confidence_warp/corner_sums.h"
#include "cuda/confidence_warp/pixels.h"
#include "cuda/confidence_warp/tile_readers.h"
#include "cuda/runtime/instantiate.h"
#include "cuda/runtime/prefix_sum.h"

namespace internet::cuda {
namespace {

constexpr int readers_at_once = 4;     // usually all of them
constexpr int64_t feature_layer = 64;  // channels of planes that share the readers
constexpr int block_threads = ReaderTiles::pixels;

// If channels lie side by side: how many lanes compute a pixel, at least as many as have a sum to store, and
// how many channels a block computes, as many as they hold at once.
template <class T>
INTERNET_HD int lanes_of(int64_t channels) {
  const int lanes = lanes_for(channels / warp_vector<T>);
  return lanes < readers_at_once ? readers_at_once : lanes;
}
template <class T>
INTERNET_HD int64_t vector_layer(int64_t channels) {
  return lanes_of<T>(channels) * warp_vector<T>;
}

template <class T>
INTERNET_HD ReaderTiles reader_tiles(const WarpFeaturesBackward<T>& p, int64_t layers) {
  return {p.images, layers, p.height, p.width};
}

// The lists of a tile; all layers share them.
template <class T>
__device__ __forceinline__ const uint32_t* begins_of(const WarpFeaturesBackward<T>& p,
                                                     const ReaderTiles& tiles, const Tile& tile) {
  const int64_t line = tile.image * tiles.down() + tile.row / ReaderTiles::height;
  return p.begins + (line * tiles.across() + tile.column / ReaderTiles::width) * tile_begins;
}

// The dot products of a tile's readers, by key.
template <class S>
struct TileDots {
  CornerDots<S> dots;

  template <class T>
  INTERNET_MEMBER TileDots(const WarpFeaturesBackward<T>& p, const Tile& tile)
      : dots(p.dots.from(tile.layer, tile.image * p.height * p.width)) {}
  INTERNET_MEMBER S& operator[](uint32_t key) const { return dots.at(int(key % 4), key / 4); }
};

// Readers in shared memory, for channels that lie side by side: where the gradient of a reader lies, counted
// in vectors, and its weight.
template <class S>
struct alignas(2 * sizeof(S)) VectorReader {
  uint32_t vector;
  S weight;
};
template <class S>
struct VectorReaders {
  VectorReader<S> readers[staged_readers<S>];
  uint32_t keys[staged_readers<S>];
  uint32_t begin[tile_begins];
};

template <class T, class S = opmath<T>>
__device__ __forceinline__ void stage(const WarpFeaturesBackward<T>& p, const Section& section,
                                      VectorReaders<S>& staged) {
  for (uint32_t i = threadIdx.x; i < section.to - section.from; i += block_threads) {
    const Reader<S> reader = p.readers[section.from + i];
    staged.readers[i] = {uint32_t(p.place(reader.pixel()) / warp_vector<T>), reader.weight};
    staged.keys[i] = reader.key;
  }
}

template <bool with_dots, class T>
constexpr int least_blocks = with_dots && sizeof(T) == 8 ? 2 : 3;

// A group of lanes computes pixel after pixel.
template <bool with_dots, class T>
__global__ void __launch_bounds__(block_threads, least_blocks<with_dots, T>)
    feature_pixels_kernel(WarpFeaturesBackward<T> p) {
  using S = opmath<T>;
  constexpr int N = warp_vector<T>;
  __shared__ VectorReaders<S> staged;
  const int64_t layer = vector_layer<T>(p.channels);
  const auto tiles = reader_tiles(p, ceiling(p.channels, layer));
  const Tile tile = tile_of_block(tiles, blockIdx.x);
  const uint32_t* begins = begins_of(p, tiles, tile);
  for (int i = threadIdx.x; i < tile_begins; i += block_threads) staged.begin[i] = begins[i];
  __syncthreads();
  const int lanes = lanes_of<T>(p.channels), lane = threadIdx.x % lanes, group = threadIdx.x / lanes;
  const int64_t image = p.first_image + tile.image, channel = tile.layer * layer + lane * N;
  // Lanes past the last channel repeat it and store nothing.
  const bool idle = channel >= p.channels;
  const int64_t c = idle ? p.channels - N : channel;
  const TilePixel first_pixel = tile_pixel(tiles, tile, 0);
  const T *gradient = channel_at(p.grad_output, image, c),
          *features = pixel_at(p.features, image, c, first_pixel);
  T* grad_features = pixel_at(p.grad_features, image, c, first_pixel);
  const TileDots<S> tile_dots(p, tile);
  const int rows = int(p.height - tile.row), columns = int(p.width - tile.column);
  Values<S, N> sum{};
  uint32_t from = staged.begin[0];
  for (int list = 0; list < block_threads;) {
    const Section section = section_from(staged.begin, list, from, staged_readers<S>);
    stage(p, section, staged);
    __syncthreads();
    for (int step = section.first; step < section.last; step += block_threads / lanes) {
      // All lanes of a warp take part in sums, so all go on until the last one has finished.
      const int i = step + group;
      const int row = i / ReaderTiles::width, column = i % ReaderTiles::width;
      const bool inside = i < section.last && row < rows && column < columns;
      const uint32_t begin = inside ? staged.begin[i] : from, end = inside ? staged.begin[i + 1] : from;
      int first = begin < from ? 0 : int(begin - from);
      const int last = int((end < section.to ? end : section.to) - from);
      if (begin >= from) sum = {};
      Loaded<T, N> own{};
      if (with_dots && inside)
        own = load_packed<N>(features + row * p.features.stride[2] + column * p.features.stride[3]);
      for (; __any_sync(~0u, first < last); first += readers_at_once) {
        Loaded<T, N> g[readers_at_once];
#pragma unroll
        for (int k = 0; k < readers_at_once; ++k) {
          if (first + k >= last) continue;
          g[k] = load_packed<N>(gradient + int64_t(staged.readers[first + k].vector) * N);
        }
        S dots[readers_at_once] = {};
#pragma unroll
        for (int k = 0; k < readers_at_once; ++k) {
          if (first + k >= last) continue;
          const auto value = widen(g[k]);
          sum.add(staged.readers[first + k].weight, value);
          if (with_dots && !idle) dots[k] = value.dot(widen(own));
        }
        if constexpr (with_dots) {
          const S dot = quarter_sum<S>({dots[0], dots[1], dots[2], dots[3]}, lanes);
          if (lane < readers_at_once && first + lane < last) tile_dots[staged.keys[first + lane]] = dot;
        }
      }
      if (inside && end <= section.to && !idle)
        store<N>(grad_features + row * p.grad_features.stride[2] + column * p.grad_features.stride[3], sum);
    }
    if (section.to == staged.begin[section.last]) list = section.last;
    from = section.to;
    if (list < block_threads) __syncthreads();
  }
}

// Readers in shared memory, for planes: the output pixels that they are, each once, and some planes of their
// gradients.
constexpr int staged_pixels = 2 * block_threads;
template <class S>
constexpr int planes_at_once = 32 / sizeof(S);

template <class S>
struct PlaneReaders {
  Reader<S> readers[staged_readers<S>];
  S dots[staged_readers<S>];
  S gradients[planes_at_once<S>][staged_pixels];
  uint16_t slots[staged_readers<S>];  // a reader's pixel among these
  uint32_t pixels[staged_pixels];
  uint32_t begin[tile_begins], of_warp[block_threads / warp_size];
};

// An output pixel reads up to four pixels, so it is in as many lists. The first of these in the tile is that
// of its north-western corner, unless that one lies in another tile.
INTERNET_HD bool is_first_in_tile(int corner, int list) {
  const bool west_edge = list % ReaderTiles::width == 0, north_edge = list < ReaderTiles::width;
  return (corner % 2 == 0 || west_edge) && (corner < 2 || north_edge);
}
INTERNET_HD int first_list_in_tile(int corner, int list) {
  const int west = corner % 2 == 0 || list % ReaderTiles::width == 0 ? 0 : 1;
  const int north = corner < 2 || list < ReaderTiles::width ? 0 : ReaderTiles::width;
  return list - west - north;
}

// Loads the readers of a tile and numbers their pixels; returns how many pixels there are, or -1 if one or
// the other do not fit. Must be called by all threads of the block.
template <class T, class S = opmath<T>>
__device__ __forceinline__ int stage(const WarpFeaturesBackward<T>& p, const uint32_t* begins,
                                     PlaneReaders<S>& staged) {
  const uint32_t start = begins[0], length = begins[block_threads] - start;
  for (int i = threadIdx.x; i < tile_begins; i += block_threads) staged.begin[i] = begins[i] - start;
  if (length > staged_readers<S>) {
    __syncthreads();
    return -1;
  }
  for (uint32_t i = threadIdx.x; i < length; i += block_threads) {
    staged.readers[i] = p.readers[start + i];
    staged.dots[i] = 0;
  }
  __syncthreads();
  const int list = threadIdx.x;
  const uint32_t begin = staged.begin[list], end = staged.begin[list + 1];
  uint32_t first = 0;
  for (uint32_t i = begin; i < end; ++i) first += is_first_in_tile(staged.readers[i].corner(), list) ? 1 : 0;
  auto [slot, pixels] = prefix_sum(first, staged.of_warp);
  if (pixels > staged_pixels) return -1;
  for (uint32_t i = begin; i < end; ++i) {
    if (!is_first_in_tile(staged.readers[i].corner(), list)) continue;
    staged.pixels[slot] = staged.readers[i].pixel();
    staged.slots[i] = uint16_t(slot++);
  }
  __syncthreads();
  for (uint32_t i = begin; i < end; ++i) {
    const Reader<S> reader = staged.readers[i];
    if (is_first_in_tile(reader.corner(), list)) continue;
    const int other = first_list_in_tile(reader.corner(), list);
    uint32_t low = staged.begin[other], high = staged.begin[other + 1];
    while (low + 1 < high) {
      const uint32_t middle = (low + high) / 2;
      (staged.readers[middle].pixel() <= reader.pixel() ? low : high) = middle;
    }
    staged.slots[i] = staged.slots[low];
  }
  return int(pixels);
}

// A thread computes one pixel, some planes at a time. The gradients of the readers of a tile are first
// brought to shared memory, where each of them is read four times.
template <bool with_dots, class T>
__global__ void __launch_bounds__(block_threads, 4) feature_planes_kernel(WarpFeaturesBackward<T> p) {
  using S = opmath<T>;
  __shared__ PlaneReaders<S> staged;
  const auto tiles = reader_tiles(p, ceiling(p.channels, feature_layer));
  const Tile tile = tile_of_block(tiles, blockIdx.x);
  const uint32_t* begins = begins_of(p, tiles, tile);
  const int pixels = stage(p, begins, staged);
  const Reader<S>* tile_readers = p.readers + begins[0];  // if they are not staged
  int64_t places[staged_pixels / block_threads];
#pragma unroll
  for (int k = 0; k < staged_pixels / block_threads; ++k) {
    const int slot = threadIdx.x + k * block_threads;
    places[k] = slot < pixels ? p.place(staged.pixels[slot]) : 0;
  }
  const TilePixel pixel = tile_pixel(tiles, tile, threadIdx.x);
  const uint32_t begin = staged.begin[threadIdx.x], end = staged.begin[threadIdx.x + 1];
  const TileDots<S> tile_dots(p, tile);
  if (with_dots && pixels < 0) {
    for (uint32_t i = begin; i < end; ++i) tile_dots[tile_readers[i].key] = 0;
  }
  const int64_t image = p.first_image + tile.image;
  const Layer layer = layer_of(tile, p.channels, feature_layer);
  const int64_t stride = p.grad_output.stride[1], out_stride = p.grad_features.stride[1];
  const T* gradient = channel_at(p.grad_output, image, layer.first);
  const T* features = pixel_at(p.features, image, layer.first, pixel);
  T* out = pixel_at(p.grad_features, image, layer.first, pixel);
  auto next = [&](auto at_once) {
    constexpr int planes = decltype(at_once)::value;
#pragma unroll
    for (int j = 0; j < staged_pixels / block_threads; ++j) {
      const int slot = threadIdx.x + j * block_threads;
      if (slot >= pixels) continue;
      S g[planes];
#pragma unroll
      for (int k = 0; k < planes; ++k) g[k] = load(gradient + places[j] + k * stride);
#pragma unroll
      for (int k = 0; k < planes; ++k) staged.gradients[k][slot] = g[k];
    }
    __syncthreads();
    S sum[planes] = {}, own[planes] = {};
#pragma unroll
    for (int k = 0; k < planes; ++k, features += p.features.stride[1]) {
      if (with_dots && pixel.inside) own[k] = load(features);
    }
    // Adds what one reader contributes, and returns its dot product.
    auto add = [&](S weight, auto gradient_of) {
      S dot = 0;
#pragma unroll
      for (int k = 0; k < planes; ++k) {
        const S g = gradient_of(k);
        sum[k] += weight * g;
        if (with_dots) dot += g * own[k];
      }
      return dot;
    };
    for (uint32_t i = begin; i < end; ++i) {
      if (pixels >= 0) {
        const S* g = &staged.gradients[0][staged.slots[i]];
        const S dot = add(staged.readers[i].weight, [&](int k) { return g[k * staged_pixels]; });
        if (with_dots) staged.dots[i] += dot;
      } else {
        const Reader<S> reader = tile_readers[i];
        const T* g = gradient + p.place(reader.pixel());
        const S dot = add(reader.weight, [&](int k) { return load(g + k * stride); });
        if (with_dots) tile_dots[reader.key] += dot;
      }
    }
    if (pixel.inside) {
#pragma unroll
      for (int k = 0; k < planes; ++k) out[k * out_stride] = narrow<T>(sum[k]);
    }
    out += planes * out_stride;
    gradient += planes * stride;
    __syncthreads();
  };
  int c = 0;
  constexpr int most = planes_at_once<S>;
  for (; c + most <= layer.count; c += most) next(Constant<most>());
  for (; c < layer.count; ++c) next(Constant<1>());
  for (uint32_t i = begin; with_dots && pixels >= 0 && i < end; ++i) {
    tile_dots[staged.readers[i].key] = staged.dots[i];
  }
}

}  // namespace

template <class T>
int64_t warp_features_backward_layers(int64_t channels, bool vectors) {
  return ceiling(channels, vectors ? vector_layer<T>(channels) : feature_layer);
}

template <class T>
cudaError_t warp_features_backward(const WarpFeaturesBackward<T>& p, bool vectors, cudaStream_t stream) {
  const bool dots = p.dots.data != nullptr;
  auto kernel = vectors ? (dots ? feature_pixels_kernel<true, T> : feature_pixels_kernel<false, T>)
                        : (dots ? feature_planes_kernel<true, T> : feature_planes_kernel<false, T>);
  const int64_t layers = warp_features_backward_layers<T>(p.channels, vectors);
  return launch(kernel, reader_tiles(p, layers).count(), block_threads, 0, stream, p);
}

#define INSTANTIATE(T)                                              \
  template int64_t warp_features_backward_layers<T>(int64_t, bool); \
  template cudaError_t warp_features_backward(const WarpFeaturesBackward<T>&, bool, cudaStream_t);
INTERNET_EACH_STORAGE(INSTANTIATE)

}  // namespace internet::cuda
