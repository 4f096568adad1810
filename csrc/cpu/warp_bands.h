// Bands of consecutive source rows, and the output pixels that belong to one.
#pragma once

#include <cstdint>

#include "isa.h"

namespace internet::cpu::INTERNET_ISA {

struct Band {
  int64_t begin, end;
};

INTERNET_HD Band band_of(int64_t index, int64_t height, int64_t bands) {
  return {index * height / bands, (index + 1) * height / bands};
}
INTERNET_HD int64_t most_rows(int64_t height, int64_t bands) { return (height + bands - 1) / bands; }

// Calls body(begin, end) for every longest run of pixels whose source row lies in the band.
template <class Body>
INTERNET_HD void for_each_run(const int32_t* source_row, int64_t width, Band band, Body body) {
  const int32_t first = int32_t(band.begin), end = int32_t(band.end);
  auto inside = [=](int64_t x) { return source_row[x] >= first && source_row[x] < end; };
  for (int64_t x = 0; x < width;) {
    while (x < width && !inside(x)) ++x;
    const int64_t begin = x;
    while (x < width && inside(x)) ++x;
    if (x > begin) body(begin, x);
  }
}

}  // namespace internet::cpu::INTERNET_ISA
