// Neighbouring channels of a pixel, one register of memory at a time: N channels of float or double, or 2 N
// of a 16-bit type, which are widened to two registers.
//
// For bfloat16, the two registers hold the even and the odd channels: each is then a shift or a mask away
// from its float, and nothing crosses lanes. Code that stores widened channels in memory keeps this order.
#pragma once

#include "cpu/runtime/isa.h"
#include "cpu/simd/simd.h"

namespace internet::cpu::INTERNET_ISA {

// As many channels of T as fill the bytes of N values of its arithmetic type.
template <int N, class T>
constexpr int channels_in = N * int(sizeof(opmath<T>) / sizeof(T));

template <int N, class T>
struct ChannelLanes {
  static constexpr int parts = channels_in<N, T> / N;
  Vec<opmath<T>, N> part[parts];
};

template <int N, class T>
INTERNET_HD ChannelLanes<N, T> load_channel_lanes(const T* p) {
  ChannelLanes<N, T> c;
  if constexpr (std::is_same_v<T, BFloat16>) {
    using F = Vec<float, N>;
    Vec<uint32_t, N> words;
    std::memcpy(&words, p, sizeof(words));
    c.part[0] = __builtin_bit_cast(F, words << 16);
    c.part[1] = __builtin_bit_cast(F, words & 0xffff0000u);
  } else {
#pragma GCC unroll 2
    for (int i = 0; i < c.parts; ++i) c.part[i] = load<N>(p + i * N);
  }
  return c;
}

// A streaming store writes memory without reading it first, which pays only for whole cache lines.
template <class V>
INTERNET_HD void store_line(void* p, V v, [[maybe_unused]] bool streaming) {
#if defined(__AVX512F__)
  if constexpr (sizeof(V) == 64) {
    if (streaming) return _mm512_stream_si512(static_cast<__m512i*>(p), __builtin_bit_cast(__m512i, v));
  }
#endif
  std::memcpy(p, &v, sizeof(v));
}

// Other threads are guaranteed to see streamed values only after this.
INTERNET_HD void finish_streaming() {
#if defined(__AVX512F__)
  _mm_sfence();
#endif
}

// `streaming` requires p to be on a cache line.
template <int N, class T>
INTERNET_HD void store_channel_lanes(T* p, const ChannelLanes<N, T>& c, bool streaming = false) {
  if constexpr (std::is_same_v<T, BFloat16>) {
    using U = Vec<uint32_t, N>;
    const U even = cpu::detail::float_to_bfloat16<Vec<float, N>, U>(c.part[0]);
    const U odd = cpu::detail::float_to_bfloat16<Vec<float, N>, U>(c.part[1]);
    store_line(p, U(even | (odd << 16)), streaming);
  } else if constexpr (ChannelLanes<N, T>::parts == 2) {
    struct {
      Half half[2 * N];
    } line;
    store<N>(line.half, c.part[0]);
    store<N>(line.half + N, c.part[1]);
    if (streaming) {
      Vec<uint16_t, 2 * N> bits;
      std::memcpy(&bits, &line, sizeof(bits));
      store_line(p, bits, true);
    } else {
      store<N>(p, c.part[0]);
      store<N>(p + N, c.part[1]);
    }
  } else {
    store_line(p, c.part[0], streaming);
  }
}

// Widened channels in memory, in the order of the registers.
template <int N, class T, class S = opmath<T>>
INTERNET_HD ChannelLanes<N, T> load_widened(const S* p) {
  ChannelLanes<N, T> c;
#pragma GCC unroll 2
  for (int i = 0; i < c.parts; ++i) c.part[i] = load<N>(p + i * N);
  return c;
}

}  // namespace internet::cpu::INTERNET_ISA
