#include "confidence_warp.h"

#include "denormals.h"
#include "plane_tiles.h"
#include "sample_row.h"
#include "warp_bands.h"

namespace internet::cpu::INTERNET_ISA {

template <class S>
void warp_row_ranges(const RowRanges<S>& p, int64_t begin, int64_t end) {
  FlushDenormals flush;
  SampleRow<S> samples(p.motion);
  for (int64_t task = begin; task < end; ++task) {
    int32_t* range = p.row_ranges + 2 * task;
    samples.row_range(task / p.motion.height, task % p.motion.height, range, range + 1);
  }
}

namespace {

// N channels of one output pixel.
template <int N, class T, class S = opmath<T>>
INTERNET_HD Vec<S, N> blend(const T* nw, const T* ne, const T* sw, const T* se, S w_nw, S w_ne, S w_sw,
                            S w_se) {
  return load<N>(nw) * w_nw + load<N>(ne) * w_ne + load<N>(sw) * w_sw + load<N>(se) * w_se;
}

}  // namespace

template <class T>
void warp_pixels(const ConfidenceWarp<T>& p, int64_t begin, int64_t end) {
  using S = opmath<T>;
  constexpr int N = native_lanes<T>;
  FlushDenormals flush;
  SampleRow<S> samples(p.motion);
  const Samples<S> s = samples;
  const Strided<const T, 4>& in = p.features;
  const int64_t channels = p.channels;
  for (int64_t task = begin; task < end; ++task) {
    const int64_t image = task / p.motion.height, row = task % p.motion.height;
    samples.prepare(image, row);
    const T* source = in.data + image * in.stride[0];
    T* out = p.output.data + image * p.output.stride[0] + row * p.output.stride[2];
    for (int64_t x = 0; x < p.motion.width; ++x, out += p.output.stride[3]) {
      if (!s.reads[x]) {
        for (int64_t c = 0; c < channels; ++c) out[c] = narrow<T>(S(0));
        continue;
      }
      const T* north = source + s.y_low[x] * in.stride[2];
      const T* south = source + s.y_high[x] * in.stride[2];
      const int64_t west = s.x_low[x] * in.stride[3], east = s.x_high[x] * in.stride[3];
      const T *nw = north + west, *ne = north + east, *sw = south + west, *se = south + east;
      const S a = s.nw[x], b = s.ne[x], c = s.sw[x], d = s.se[x];
      int64_t k = 0;
      for (; k + N <= channels; k += N) {
        store<N>(out + k, blend<N>(nw + k, ne + k, sw + k, se + k, a, b, c, d));
      }
      for (; k < channels; ++k) {
        out[k] = narrow<T>(widen(nw[k]) * a + widen(ne[k]) * b + widen(sw[k]) * c + widen(se[k]) * d);
      }
    }
  }
}

namespace {

template <int K, class T>
void warp_block(const ConfidenceWarp<T>& p, SampleRow<opmath<T>>& samples, int64_t image,
                int64_t first_channel, Band band, opmath<T>* source, opmath<T>* pixels) {
  using V = Vec<opmath<T>, K>;
  const int64_t height = p.motion.height, width = p.motion.width;
  const Samples<opmath<T>> s = samples;
  const int64_t channels = std::min<int64_t>(K, p.channels - first_channel);
  const T* in = p.features.data + image * p.features.stride[0] + first_channel * p.features.stride[1];
  T* out = p.output.data + image * p.output.stride[0] + first_channel * p.output.stride[1];
  // The band's rows, and the one below that its last row is blended with.
  const int64_t source_end = std::min(band.end + 1, height);
  for (int64_t y = band.begin; y < source_end; ++y) {
    planes_to_pixels<K>(in + y * p.features.stride[2], p.features.stride[1], p.features.stride[3], channels,
                        width, source + (y - band.begin) * width * K);
  }
  const int32_t* ranges = p.row_ranges + 2 * image * height;
  for (int64_t row = 0; row < height; ++row) {
    if (ranges[2 * row] >= band.end || ranges[2 * row + 1] < band.begin) continue;
    samples.prepare(image, row);
    for_each_run(s.y_low, width, band, [&](int64_t begin, int64_t end) {
      for (int64_t x = begin; x < end; ++x) {
        const auto* north = source + (s.y_low[x] - band.begin) * width * K;
        const auto* south = source + (s.y_high[x] - band.begin) * width * K;
        const int64_t west = s.x_low[x] * K, east = s.x_high[x] * K;
        V value = s.reads[x] ? blend<K>(north + west, north + east, south + west, south + east, s.nw[x],
                                        s.ne[x], s.sw[x], s.se[x])
                             : V{};
        store<K>(pixels + x * K, value);
      }
      pixels_to_planes<K>(pixels + begin * K, end - begin, channels,
                          out + row * p.output.stride[2] + begin * p.output.stride[3], p.output.stride[1],
                          p.output.stride[3], begin);
    });
  }
}

}  // namespace

template <class T>
void warp_planes(const ConfidenceWarp<T>& p, int64_t begin, int64_t end) {
  using S = opmath<T>;
  FlushDenormals flush;
  SampleRow<S> samples(p.motion);
  const int64_t K = warp_block_channels(p.channels), blocks = (p.channels + K - 1) / K;
  WorkingMemory<S> source((most_rows(p.motion.height, p.bands) + 1) * p.motion.width * K);
  WorkingMemory<S> pixels(p.motion.width * K);
  for (int64_t task = begin; task < end; ++task) {
    const Band band = band_of(task % p.bands, p.motion.height, p.bands);
    const int64_t first_channel = task / p.bands % blocks * K, image = task / p.bands / blocks;
    if (K == 16) {
      warp_block<16>(p, samples, image, first_channel, band, source.data(), pixels.data());
    } else {
      warp_block<4>(p, samples, image, first_channel, band, source.data(), pixels.data());
    }
  }
}

template void warp_row_ranges<float>(const RowRanges<float>&, int64_t, int64_t);
template void warp_row_ranges<double>(const RowRanges<double>&, int64_t, int64_t);
INTERNET_INSTANTIATE_KERNEL(warp_pixels, ConfidenceWarp)
INTERNET_INSTANTIATE_KERNEL(warp_planes, ConfidenceWarp)

}  // namespace internet::cpu::INTERNET_ISA
