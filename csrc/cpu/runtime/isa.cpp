#include "cpu/runtime/isa.h"

#include <cstdlib>
#include <stdexcept>
#include <string>

namespace internet::cpu {
namespace {

constexpr const char* names[] = {"baseline", "avx2", "avx512"};

#if defined(__x86_64__)
// x86-64-v3 and -v4, by name or, for a clang that does not know these names, by those features that it can
// test.
bool offers_level_3() {
#if defined(__clang__)
  return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("bmi2");
#else
  return __builtin_cpu_supports("x86-64-v3");
#endif
}

bool offers_level_4() {
#if defined(__clang__)
  return offers_level_3() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
         __builtin_cpu_supports("avx512cd") && __builtin_cpu_supports("avx512dq") &&
         __builtin_cpu_supports("avx512vl");
#else
  return __builtin_cpu_supports("x86-64-v4");
#endif
}
#endif

Isa best_isa() {
#if defined(__x86_64__)
  if (offers_level_4()) return Isa::avx512;
  if (offers_level_3()) return Isa::avx2;
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
