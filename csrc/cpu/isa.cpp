#include "isa.h"

#include <cstdlib>
#include <stdexcept>
#include <string>

namespace internet::cpu {
namespace {

constexpr const char* names[] = {"baseline", "avx2", "avx512"};

Isa best_isa() {
#if defined(__x86_64__)
  if (__builtin_cpu_supports("x86-64-v4")) return Isa::avx512;
  if (__builtin_cpu_supports("x86-64-v3")) return Isa::avx2;
#endif
  return Isa::baseline;
}

Isa decide() {
  Isa best = best_isa();
  const char* asked = std::getenv("INTERNET_CPU_ISA");
  if (asked == nullptr || *asked == '\0') return best;
  for (int i = 0; i < 3; ++i) {
    if (asked != std::string(names[i])) continue;
    if (i <= int(best)) return Isa(i);
    throw std::runtime_error("INTERNET_CPU_ISA=" + std::string(asked) + ": this machine offers " +
                             names[int(best)] + " at most");
  }
  throw std::runtime_error("INTERNET_CPU_ISA=" + std::string(asked) + ": expected baseline, avx2 or avx512");
}

}  // namespace

Isa chosen_isa() {
  static const Isa isa = decide();
  return isa;
}

}  // namespace internet::cpu
