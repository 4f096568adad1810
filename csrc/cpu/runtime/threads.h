// When torch's threads are worth waking, and when they must not be.
#pragma once

#include <cstdint>

namespace internet::cpu {

// So many tasks, of so many nanoseconds each, are worth waking a thread for. A sleeping one takes about 25
// microseconds to wake; and where other work keeps its core, whoever waits for it waits for milliseconds.
//
// What a task takes is told for a fast machine: one thread of a Zen 4 with AVX-512, its data in the cache.
// A slower one wakes its threads later than it could.
constexpr int64_t tasks_per_thread(double nanoseconds) { return int64_t(25'000 / (nanoseconds + 1)); }

// Whether this thread may wake torch's others. Not in a process that was forked: those that its parent had
// are gone, and OpenMP would wait for them for ever. And not if it may run on one core only, unless OpenMP
// has bound it there, and each of the others to a core of its own: the thread that waits would keep the core
// from the one it waits for.
bool can_wake_threads();

}  // namespace internet::cpu
