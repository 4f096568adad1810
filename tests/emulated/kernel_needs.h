// What a compiler for GPUs notes beside a kernel's code, and a launch is checked against.
#pragma once

#include <cstddef>

namespace emulated {

struct KernelNeeds {
  unsigned most_threads;  // of a block: the kernel's __launch_bounds__
  size_t static_bytes;    // of its `__shared__` variables
};

// Of a kernel by its address; throws std::runtime_error if this library's symbols cannot be read.
const KernelNeeds& needs_of(const void* kernel);

}  // namespace emulated
