#include "emulator.h"

#include <link.h>
#include <setjmp.h>
#include <sys/mman.h>
#include <ucontext.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <memory>
#include <mutex>
#include <random>
#include <stdexcept>
#include <vector>

#include "kernel_needs.h"

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif

// What the kernels declare as `extern __shared__ unsigned char shared_memory[]`, each in the unnamed
// namespace of its file: a GPU has one such array, and by this name the linker finds it.
constexpr size_t most_shared_bytes = 227 << 10;
constexpr size_t canary_bytes = 256;
thread_local
    __attribute__((aligned(128))) unsigned char dynamic_shared[most_shared_bytes + canary_bytes] __asm__(
        "_ZN8internet4cuda12_GLOBAL__N_113shared_memoryE");

namespace emulated {
namespace {

constexpr size_t stack_bytes = 128 << 10;
constexpr size_t page = 4096;
constexpr unsigned most_threads = 1024;
constexpr int shared_bytes_without_asking = 48 << 10;
constexpr unsigned char poison = 0xff;  // NaN in every floating-point type, -1 in every integer

enum class State { ready, at_barrier, at_exchange, done };

// A fiber, which runs threads of blocks, one after the other.
struct Fiber {
  Thread thread;
  State state = State::done;
  Site site{};
  // of an exchange
  unsigned mask = 0;
  int source = 0;
  size_t size = 0;
  unsigned char value[largest_shuffle];
  // of the host
  bool begun = false;
  jmp_buf context;
  void* stack = nullptr;

  ~Fiber() {
    if (stack != nullptr) munmap(stack, stack_bytes + page);
  }
};

struct Failure {
  std::string what;
};

// There is one emulated device: a launch holds the lock.
std::recursive_mutex lock;
std::vector<std::unique_ptr<Fiber>> fibers;
const std::function<void()>* body = nullptr;
Fiber* current = nullptr;
Block block{};
jmp_buf scheduler;
ucontext_t scheduler_context;
std::string failure, launched;
std::map<const void*, int> allowed_bytes;
std::array<int, most_threads / warp_size> waiting;  // lanes of each warp that are at an exchange
size_t dirty_bytes = sizeof dynamic_shared;         // of dynamic_shared, that a block may have written

uint64_t first_seed() {
  const char* wish = std::getenv("INTERNET_EMULATED_SEED");
  const uint64_t seed = wish != nullptr ? std::strtoull(wish, nullptr, 10) : std::random_device{}();
  std::fprintf(stderr, "emulated CUDA: INTERNET_EMULATED_SEED=%llu\n", static_cast<unsigned long long>(seed));
  return seed;
}

// SplitMix64, as every switch of fibers takes a draw.
uint64_t draw() {
  static uint64_t state = first_seed();
  uint64_t z = state += 0x9e3779b97f4a7c15;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
  z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
  return z ^ (z >> 31);
}
size_t draw_below(size_t count) { return size_t((unsigned __int128)(draw()) * count >> 64); }

std::string text(Index i) {
  return "(" + std::to_string(i.x) + ", " + std::to_string(i.y) + ", " + std::to_string(i.z) + ")";
}
std::string text(Site site) {
  const char* name = std::strrchr(site.file, '/');
  return std::string(name == nullptr ? site.file : name + 1) + ":" + std::to_string(site.line);
}

// ---- switching

// The address sanitizer has its own ideas about what longjmp leaves behind; of the compiler's own it knows
// nothing.
#if defined(__SANITIZE_ADDRESS__)
#define SAVE(context) __builtin_setjmp(reinterpret_cast<void**>(&(context)))
#define RESUME(context) __builtin_longjmp(reinterpret_cast<void**>(&(context)), 1)
#define SWITCHES __attribute__((noinline, no_sanitize("address")))
#else
#define SAVE(context) _setjmp(context)
#define RESUME(context) _longjmp(context, 1)
#define SWITCHES __attribute__((noinline))
#endif

// The host's stack of the scheduler, for the address sanitizer.
[[maybe_unused]] const void* scheduler_stack = nullptr;
[[maybe_unused]] size_t scheduler_size = 0;

void leave_scheduler([[maybe_unused]] void** fake, [[maybe_unused]] const Fiber& to) {
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_start_switch_fiber(fake, static_cast<char*>(to.stack) + page, stack_bytes);
#endif
}
void enter_scheduler([[maybe_unused]] void* fake) {
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_finish_switch_fiber(fake, nullptr, nullptr);
#endif
}
void leave_fiber([[maybe_unused]] void** fake) {
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_start_switch_fiber(fake, scheduler_stack, scheduler_size);
#endif
}
void enter_fiber([[maybe_unused]] void* fake) {
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_finish_switch_fiber(fake, &scheduler_stack, &scheduler_size);
#endif
}

// Switches from a fiber to the scheduler, until it switches back.
SWITCHES void wait() {
  void* fake = nullptr;
  if (SAVE(current->context) == 0) {
    leave_fiber(&fake);
    RESUME(scheduler);
  }
  enter_fiber(fake);
}

// The loop of a fiber: it never returns; while it waits, the scheduler assigns the next thread.
void live() {
  enter_fiber(nullptr);
  for (;;) {
    (*body)();
    current->state = State::done;
    wait();
  }
}

void begin(Fiber& fiber) {
  if (fiber.stack == nullptr) {
    void* memory =
        mmap(nullptr, stack_bytes + page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) std::abort();
    mprotect(memory, page, PROT_NONE);  // so that a stack overflow is a segmentation fault
    fiber.stack = memory;
  }
  ucontext_t context;
  getcontext(&context);
  context.uc_stack.ss_sp = static_cast<char*>(fiber.stack) + page;
  context.uc_stack.ss_size = stack_bytes;
  context.uc_link = nullptr;
  makecontext(&context, live, 0);
  fiber.begun = true;
  setcontext(&context);
}

// Switches from the scheduler to a fiber, until it waits.
SWITCHES void go_on(Fiber& fiber) {
  void* fake = nullptr;
  current = &fiber;
  if (SAVE(scheduler) == 0) {
    leave_scheduler(&fake, fiber);
    if (fiber.begun) RESUME(fiber.context);
    begin(fiber);
  }
  enter_scheduler(fake);
  current = nullptr;
}

// ---- the block

// The library's thread-local memory, which is the kernels' `__shared__` variables.
struct SharedMemory {
  unsigned char* data = nullptr;
  size_t size = 0;
};
SharedMemory shared_memory() {
  dynamic_shared[0] = poison;  // touched, so that it is allocated
  SharedMemory found;
  auto look = [](dl_phdr_info* info, size_t, void* result) {
    bool ours = false;
    size_t size = 0;
    const auto here = reinterpret_cast<uintptr_t>(&draw_below);
    for (int i = 0; i < info->dlpi_phnum; ++i) {
      const auto& header = info->dlpi_phdr[i];
      const uintptr_t start = info->dlpi_addr + header.p_vaddr;
      ours |= header.p_type == PT_LOAD && here >= start && here < start + header.p_memsz;
      if (header.p_type == PT_TLS) size = header.p_memsz;
    }
    if (!ours) return 0;
    *static_cast<SharedMemory*>(result) = {static_cast<unsigned char*>(info->dlpi_tls_data), size};
    return 1;
  };
  dl_iterate_phdr(look, &found);
  return found;
}

// Fills fresh shared memory with poison, and the bytes beyond the requested ones with a canary.
void poison_shared(const SharedMemory& all, size_t dynamic_bytes) {
  unsigned char* dynamic_end = dynamic_shared + sizeof dynamic_shared;
  std::memset(all.data, poison, dynamic_shared - all.data);
  std::memset(dynamic_end, poison, all.data + all.size - dynamic_end);
  std::memset(dynamic_shared, poison, std::max(dirty_bytes, dynamic_bytes + canary_bytes));
  dirty_bytes = dynamic_bytes + canary_bytes;
}
void check_canary(size_t dynamic_bytes) {
  for (size_t i = 0; i < canary_bytes; ++i) {
    if (dynamic_shared[dynamic_bytes + i] != poison) {
      throw Failure{"byte " + std::to_string(dynamic_bytes + i) +
                    " of the dynamic shared memory was written, of " + std::to_string(dynamic_bytes) +
                    " asked for"};
    }
  }
}

// How many threads wait, and for what.
std::string who_waits(size_t threads) {
  std::map<std::string, int> counts;
  for (size_t i = 0; i < threads; ++i) {
    const Fiber& fiber = *fibers[i];
    if (fiber.state == State::done) ++counts["have returned"];
    if (fiber.state == State::at_barrier) ++counts["wait at the barrier of " + text(fiber.site)];
    if (fiber.state == State::at_exchange) ++counts["wait for lanes of their warps at " + text(fiber.site)];
  }
  std::string told;
  for (const auto& [what, count] : counts)
    told += (told.empty() ? "" : ", ") + std::to_string(count) + " " + what;
  return told;
}

// All remaining threads wait. Releases them if all are at the same barrier.
void release_barrier(size_t threads, std::vector<Fiber*>& ready) {
  for (size_t i = 0; i < threads; ++i) {
    if (fibers[i]->state != State::at_barrier || !(fibers[i]->site == fibers[0]->site)) {
      throw Failure{"deadlock, of " + std::to_string(threads) + " threads " + who_waits(threads)};
    }
  }
  for (size_t i = 0; i < threads; ++i) {
    fibers[i]->state = State::ready;
    ready.push_back(fibers[i].get());
  }
}

// Lets the lanes go on that `last` was the last to join, if it was. Lanes that have returned, or do not
// exist, never join: that is a deadlock.
void release_exchange(const Fiber& last, size_t threads, std::vector<Fiber*>& ready) {
  const size_t warp = last.thread.number / warp_size, first = warp * warp_size;
  if (++waiting[warp] < std::popcount(last.mask)) return;
  std::array<Fiber*, warp_size> lanes{};
  for (int i = 0; i < warp_size && first + i < threads; ++i) {
    Fiber* lane = fibers[first + i].get();
    const bool joins =
        lane->state == State::at_exchange && lane->site == last.site && lane->mask == last.mask;
    if (last.mask >> i & 1 && !joins) return;
    if (last.mask >> i & 1) lanes[i] = lane;
  }
  unsigned char values[warp_size][largest_shuffle];
  std::memset(values, poison, sizeof values);  // what a lane gets from one that takes no part
  for (int i = 0; i < warp_size; ++i) {
    if (lanes[i] != nullptr) std::memcpy(values[i], lanes[i]->value, lanes[i]->size);
  }
  for (Fiber* lane : lanes) {
    if (lane == nullptr) continue;
    std::memcpy(lane->value, values[lane->source & (warp_size - 1)], lane->size);
    lane->state = State::ready;
    ready.push_back(lane);
    --waiting[warp];
  }
}

void run_block(size_t threads) {
  std::vector<Fiber*> ready;
  ready.reserve(threads);
  waiting.fill(0);
  for (size_t i = 0; i < threads; ++i) {
    const unsigned n = unsigned(i), x = block.dim.x, y = block.dim.y;
    fibers[i]->thread = {{n % x, n / x % y, n / (x * y)}, int(n)};
    fibers[i]->state = State::ready;
    ready.push_back(fibers[i].get());
  }
  for (size_t left = threads; left > 0;) {
    if (ready.empty()) release_barrier(threads, ready);
    std::swap(ready[draw_below(ready.size())], ready.back());
    Fiber& fiber = *ready.back();
    ready.pop_back();
    go_on(fiber);
    if (!failure.empty()) throw Failure{"thread " + text(fiber.thread.index) + ": " + failure};
    if (fiber.state == State::done) --left;
    if (fiber.state == State::at_exchange) release_exchange(fiber, threads, ready);
  }
}

// Why every GPU since sm_80 would refuse a launch; empty if it would not.
std::string unacceptable(const Launch& launch) {
  const Index g = launch.grid, b = launch.block;
  if (g.x == 0 || g.y == 0 || g.z == 0) return "an empty grid " + text(g);
  if (g.x > 0x7fffffff || g.y > 65535 || g.z > 65535) return "too many blocks: " + text(g);
  if (b.x == 0 || b.y == 0 || b.z == 0) return "an empty block " + text(b);
  if (b.x > 1024 || b.y > 1024 || b.z > 64 || size_t(b.x) * b.y * b.z > most_threads) {
    return "too many threads in a block: " + text(b);
  }
  const KernelNeeds& needs = needs_of(launch.kernel);
  if (size_t(b.x) * b.y * b.z > needs.most_threads) {
    return "too many threads in a block: " + text(b) + ", where __launch_bounds__ has " +
           std::to_string(needs.most_threads);
  }
  if (needs.static_bytes > shared_bytes_without_asking) {
    return std::to_string(needs.static_bytes) + " bytes of static shared memory, where " +
           std::to_string(shared_bytes_without_asking) + " are allowed";
  }
  const auto asked = allowed_bytes.find(launch.kernel);
  const size_t without_asking = shared_bytes_without_asking - needs.static_bytes;
  const size_t allowed = asked == allowed_bytes.end() ? without_asking : asked->second;
  if (launch.shared_bytes > allowed) {
    return std::to_string(launch.shared_bytes) + " bytes of shared memory, where " + std::to_string(allowed) +
           " are allowed beside " + std::to_string(needs.static_bytes) + " static ones";
  }
  return "";
}

void run_grid(const Launch& launch) {
  const Index g = launch.grid, b = launch.block;
  const size_t blocks = size_t(g.x) * g.y * g.z, threads = size_t(b.x) * b.y * b.z;
  const SharedMemory shared = shared_memory();
  while (fibers.size() < threads) fibers.push_back(std::make_unique<Fiber>());
  std::vector<size_t> order(blocks);
  for (size_t i = 0; i < blocks; ++i) {
    order[i] = i;
    std::swap(order[i], order[draw_below(i + 1)]);
  }
  for (size_t number : order) {
    block = {{unsigned(number % g.x), unsigned(number / g.x % g.y), unsigned(number / g.x / g.y)}, b, g};
    poison_shared(shared, launch.shared_bytes);
    run_block(threads);
    check_canary(launch.shared_bytes);
  }
}

}  // namespace

const Block& current_block() { return block; }
const Thread& current_thread() { return current->thread; }

void fail(const std::string& what, Site site) {
  const std::string whole = text(site) + ": " + what;
  if (current == nullptr) throw std::runtime_error("emulated CUDA: " + whole);
  failure = whole;
  for (;;) wait();  // the scheduler does not resume this thread
}

void block_barrier(Site site) {
  current->site = site;
  current->state = State::at_barrier;
  wait();
}

void warp_exchange(Site site, unsigned mask, void* value, size_t size, int source) {
  if (!(mask >> lane_of_current_thread() & 1)) fail("the mask does not name the lane itself", site);
  Fiber& mine = *current;
  mine.site = site;
  mine.mask = mask;
  mine.source = source;
  mine.size = size;
  if (size > 0) std::memcpy(mine.value, value, size);  // __syncwarp exchanges nothing
  mine.state = State::at_exchange;
  wait();
  if (size > 0) std::memcpy(value, mine.value, size);
}

int run(const Launch& launch, const std::function<void()>& thread) {
  const std::lock_guard<std::recursive_mutex> held(lock);
  check_stream(launch.stream);
  failure = unacceptable(launch);
  launched = launch.name;
  if (!failure.empty()) return 9;  // cudaErrorInvalidConfiguration
  body = &thread;
  try {
    run_grid(launch);
  } catch (const Failure& reason) {
    failure = launched + ": block " + text(block.index) + ": " + reason.what;
    for (auto& fiber : fibers) fiber->begun = false;  // their threads are abandoned
    current = nullptr;
    return 719;  // cudaErrorLaunchFailure
  }
  return 0;
}

int allow_shared_bytes(const void* kernel, int bytes) {
  const size_t free_bytes = most_shared_bytes - needs_of(kernel).static_bytes;
  if (bytes > int(free_bytes)) {
    failure =
        std::to_string(bytes) + " bytes of shared memory, of which there are " + std::to_string(free_bytes);
    return 1;  // cudaErrorInvalidValue
  }
  allowed_bytes[kernel] = bytes;
  return 0;
}

std::string last_failure() { return failure; }

void* current_stream() { return &launched; }
void check_stream(const void* stream) {
  if (stream != current_stream()) fail("not torch's current stream", {"a launch", 0});
}

}  // namespace emulated

// The checks that -fsanitize=alignment,bounds inserts before accesses call these functions on errors.
struct SourcePlace {
  const char* file;
  uint32_t line, column;
  operator emulated::Site() const { return {file, int(line)}; }
};
struct TypeDescriptor {
  uint16_t kind, information;
  char name[1];
};
struct TypeMismatch {
  SourcePlace place;
  const TypeDescriptor* type;
  unsigned char log_alignment, kind;
};
struct OutOfBounds {
  SourcePlace place;
  const TypeDescriptor *array, *index;
};
extern "C" __attribute__((visibility("hidden"))) void __ubsan_handle_type_mismatch_v1(
    const TypeMismatch* what, uintptr_t address) {
  const std::string name = what->type->name;
  emulated::fail("misaligned access to " + name + " at ..." + std::to_string(address % 4096), what->place);
}
extern "C" __attribute__((visibility("hidden"))) void __ubsan_handle_out_of_bounds(const OutOfBounds* what,
                                                                                   uintptr_t index) {
  const std::string name = what->array->name;
  emulated::fail("element " + std::to_string(intptr_t(index)) + " of " + name, what->place);
}
