// When torch's threads are worth waking, and when they must not be.
#pragma once

#include <cstdint>

namespace internet::cpu {

// How many tasks, of so many nanoseconds each, make waking a thread worthwhile. A sleeping thread takes about
// 25 microseconds to wake; and if other work occupies its core, its results arrive milliseconds late.
//
// Durations are those of a fast machine: one thread of a Zen 4 with AVX-512, its data in the cache. A slower
// machine wakes threads later than it could.
constexpr int64_t tasks_per_thread(double nanoseconds) { return int64_t(25'000 / (nanoseconds + 1)); }

// Whether this thread may wake torch's others. Not in a forked process: the parent's threads do not exist
// there, and OpenMP would wait for them forever. Nor if it may run on only one core, unless OpenMP has bound
// it there and each of the others to a core of its own: the waiting thread would occupy the core that the
// others need.
bool can_wake_threads();

}  // namespace internet::cpu
