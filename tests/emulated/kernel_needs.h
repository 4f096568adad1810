// The properties that a GPU compiler stores with a kernel's code, and that a launch is checked against.
#pragma once

#include <cstddef>

namespace emulated {

struct KernelNeeds {
  unsigned most_threads;  // of a block: the kernel's __launch_bounds__
  size_t static_bytes;    // of its `__shared__` variables
};

// Those of the kernel at an address; throws std::runtime_error if this library's symbols cannot be read.
const KernelNeeds& needs_of(const void* kernel);

}  // namespace emulated
