#include "cpu/runtime/threads.h"

#if defined(__linux__)
#include <pthread.h>
#include <sched.h>

// Of whichever OpenMP torch runs on; a null pointer if it runs on none.
extern "C" __attribute__((weak)) int omp_get_proc_bind();
#endif

namespace internet::cpu {

#if defined(__linux__)
namespace {

bool forked = false;
[[maybe_unused]] const int at_fork = pthread_atfork(nullptr, nullptr, [] { forked = true; });

bool bound_by_openmp() { return omp_get_proc_bind != nullptr && omp_get_proc_bind() != 0; }

bool has_one_core() {
  cpu_set_t cores;  // up to 1024 cores; with more, the system call fails
  return sched_getaffinity(0, sizeof(cores), &cores) == 0 && CPU_COUNT(&cores) == 1;
}

}  // namespace

bool can_wake_threads() { return !forked && (!has_one_core() || bound_by_openmp()); }
#else
bool can_wake_threads() { return true; }
#endif

}  // namespace internet::cpu
