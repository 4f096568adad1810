// A GPU's threads as fibers of one thread of the host.
//
// The blocks of a grid run one after the other, in random order. A block's threads run until they wait for
// each other, and who goes on is drawn at random: what the kernel leaves open is different every time, and a
// missing barrier shows. Which order it was, follows from the seed, INTERNET_EMULATED_SEED.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>

namespace emulated {

constexpr int warp_size = 32;
constexpr size_t largest_shuffle = 16;

struct Index {
  unsigned x, y, z;
};

// A place in the kernels' source.
struct Site {
  const char* file;
  int line;
  bool operator==(const Site& other) const { return file == other.file && line == other.line; }
};

struct Block {
  Index index, dim, grid;
};
struct Thread {
  Index index;
  int number;
};

const Block& current_block();
const Thread& current_thread();
inline int lane_of_current_thread() { return current_thread().number % warp_size; }

// Ends the running kernel, if any, with an error of the call that launched it.
[[noreturn]] void fail(const std::string& what, Site site);

// Waits until all threads of the block have arrived.
void block_barrier(Site site);

// Waits until all lanes of the mask have arrived; `value` then is that of the lane `source`.
void warp_exchange(Site site, unsigned mask, void* value, size_t size, int source);

struct Launch {
  const char* name;
  const void* kernel;
  Index grid, block;
  size_t shared_bytes;
  const void* stream;
};

// Runs `thread` in each thread of a grid; returns a CUDA error code, described by last_failure().
int run(const Launch& launch, const std::function<void()>& thread);
int allow_shared_bytes(const void* kernel, int bytes);
std::string last_failure();

// Torch's current stream, the only one that may be used.
void* current_stream();
void check_stream(const void* stream);

}  // namespace emulated
