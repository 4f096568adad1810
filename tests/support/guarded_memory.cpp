// A library to preload: each new CPU tensor of torch (posix_memalign) gets its own pages, filled with bytes
// that are NaN in every floating-point type, between pages without access rights. Reading before writing then
// changes results, and an access past the end (with FENCE=before: before the start) or after the tensor is
// freed is a segmentation fault.
#include <dlfcn.h>
#include <sys/mman.h>

#include <atomic>
#include <cerrno>
#include <cstdint>
#include <cstdlib>
#include <cstring>

namespace {

constexpr size_t page = 4096;
constexpr size_t arena_pages = size_t(1) << 28;  // 1 TiB of addresses, none used twice
constexpr size_t most_filled = size_t(1)
                               << 30;  // larger tensors are almost all gaps, which need no memory then

char* arena = nullptr;
bool fence_before = false;
size_t alignment = 1;  // FENCE_ALIGNMENT, that of every tensor; its last bytes may lie so far from the fence
std::atomic<size_t> next_page{1};
uint32_t length_in_pages[arena_pages];  // of the allocation that starts at this page

__attribute__((constructor)) void reserve() {
  void* memory =
      mmap(nullptr, arena_pages * page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED) std::abort();
  const char* side = std::getenv("FENCE");
  fence_before = side != nullptr && std::strcmp(side, "before") == 0;
  const char* wish = std::getenv("FENCE_ALIGNMENT");
  if (wish != nullptr) alignment = std::strtoull(wish, nullptr, 10);
  arena = static_cast<char*>(memory);
}

}  // namespace

extern "C" int posix_memalign(void** memory, size_t, size_t size) {
  if (arena == nullptr) return ENOMEM;
  const size_t pages = (size + page - 1) / page;
  const size_t first = next_page.fetch_add(pages + 1);  // one more, for the fence
  if (first + pages >= arena_pages) return ENOMEM;
  char* start = arena + first * page;
  if (mprotect(start, pages * page, PROT_READ | PROT_WRITE) != 0) return ENOMEM;
  if (size <= most_filled) std::memset(start, 0xFF, pages * page);
  length_in_pages[first] = uint32_t(pages);
  // Tensors of any alignment are legal, so the alignment that was asked for gives way to the fence.
  *memory = fence_before ? start : start + ((pages * page - size) & ~(alignment - 1));
  return 0;
}

extern "C" void free(void* memory) {
  using Function = void (*)(void*);
  static const Function original = reinterpret_cast<Function>(dlsym(RTLD_NEXT, "free"));
  const uintptr_t offset = reinterpret_cast<uintptr_t>(memory) - reinterpret_cast<uintptr_t>(arena);
  if (arena == nullptr || offset >= arena_pages * page) return original(memory);
  const size_t first = offset / page;
  madvise(arena + first * page, length_in_pages[first] * page, MADV_DONTNEED);
  mprotect(arena + first * page, length_in_pages[first] * page, PROT_NONE);
}
