// How many channels of planes are converted to pixels, and sampled, at a time.
#pragma once

#include <cstdint>

namespace internet::cpu {

// 16 words per pixel, for most types a cache line, or 4 if that is enough. Two values of a 16-bit type form a
// word.
// a word.
template <class T>
constexpr int64_t smallest_block = sizeof(T) == 2 ? 8 : 4;
template <class T>
constexpr int64_t usual_block = 4 * smallest_block<T>;

template <class T>
int64_t block_channels(int64_t channels) {
  return channels <= smallest_block<T> ? smallest_block<T> : usual_block<T>;
}

}  // namespace internet::cpu
