// Keeps the memory of freed outputs for the next output of the same size.
//
// A large fresh allocation is mapped by the operating system page by page as it is first written, which takes
// longer than computing what is written there. A network makes tensors of the same few sizes again and again,
// so what one step frees is what the next one needs.
//
// The pool holds at most INTERNET_OUTPUT_POOL_MB megabytes (512 by default; 0 switches it off). Beyond that,
// it releases what was freed longest ago. It needs torch >= 2.11, which can report when a tensor's memory is
// free; with torch 2.10, outputs come from torch's allocator.
#include <algorithm>
#include <mutex>
#include <new>
#include <utility>
#include <vector>

#include "environment.h"
#include "torch_stable.h"

// Available since torch 2.11; a null pointer in 2.10.
extern "C" __attribute__((weak)) AOTITorchError
torch_from_blob(void* data, int64_t dims, const int64_t* sizes, const int64_t* strides,
                int64_t storage_offset, int32_t type, int32_t device_type, int32_t device_index,
                AtenTensorHandle* out, int32_t layout, const uint8_t* metadata, int64_t metadata_size,
                void (*deleter)(void* data, void* context), void* context);

namespace internet::cpu {
namespace {

constexpr size_t smallest_block = size_t(1) << 18;  // below this size, malloc reuses memory by itself
constexpr size_t granularity = size_t(1) << 14;
constexpr std::align_val_t alignment{64};

struct Block {
  void* data;
  size_t bytes;
};

// No operation waits for the lock: if it is taken (by another thread, or forever by a thread that held it
// when the process forked), memory comes from the system instead.
class Pool {
 public:
  size_t limit() const { return limit_; }

  void* take(size_t bytes) {
    std::unique_lock lock(mutex_, std::try_to_lock);
    if (lock) {
      auto same = [=](const Block& block) { return block.bytes == bytes; };
      auto found = std::find_if(free_.rbegin(), free_.rend(), same);  // the most likely to be in the cache
      if (found != free_.rend()) {
        void* data = found->data;
        free_.erase(std::next(found).base());
        held_ -= bytes;
        return data;
      }
    }
    return ::operator new(bytes, alignment);
  }

  void give_back(Block block) {
    std::vector<Block> surplus;
    {
      std::unique_lock lock(mutex_, std::try_to_lock);
      if (!lock || block.bytes > limit_) {
        surplus.push_back(block);
      } else {
        free_.push_back(block);
        held_ += block.bytes;
        while (held_ > limit_) surplus.push_back(remove_oldest());
      }
    }
    release(surplus);
  }

  size_t clear() {
    std::unique_lock lock(mutex_, std::try_to_lock);
    if (!lock) return 0;
    size_t bytes = std::exchange(held_, 0);
    release(std::exchange(free_, {}));
    return bytes;
  }

 private:
  Block remove_oldest() {
    Block oldest = free_.front();
    free_.erase(free_.begin());
    held_ -= oldest.bytes;
    return oldest;
  }

  static void release(const std::vector<Block>& blocks) {
    for (const Block& block : blocks) ::operator delete(block.data, alignment);
  }

  const size_t limit_ = size_t(bytes_of_setting("INTERNET_OUTPUT_POOL_MB", 512));
  std::mutex mutex_;
  std::vector<Block> free_;  // oldest first
  size_t held_ = 0;
};

// Never destroyed: tensors may be freed after static destructors have run.
Pool& pool() {
  static Pool* const the_pool = new Pool;
  return *the_pool;
}

size_t item_size(ScalarType type) {
  return type == ScalarType::Double ? 8 : type == ScalarType::Float ? 4 : 2;
}

size_t bytes_of(int64_t dims, const int64_t* sizes, ScalarType type) {
  size_t count = 1;
  for (int64_t axis = 0; axis < dims; ++axis) count *= size_t(sizes[axis]);
  return count * item_size(type);
}

void return_to_pool(void* data, void* bytes) { pool().give_back({data, reinterpret_cast<size_t>(bytes)}); }

int64_t clear_output_pool() { return int64_t(pool().clear()); }

}  // namespace
}  // namespace internet::cpu

namespace internet {

AtenTensorHandle allocate(int64_t dims, const int64_t* sizes, const int64_t* strides, ScalarType type,
                          const Tensor&) {
  const int32_t device = aoti_torch_device_type_cpu(),
                index = -1;  // "cpu", which is not "cpu:0" to from_blob
  AtenTensorHandle tensor;
  size_t bytes = cpu::bytes_of(dims, sizes, type);
  if (bytes < cpu::smallest_block || bytes > cpu::pool().limit() || torch_from_blob == nullptr) {
    TORCH_ERROR_CODE_CHECK(
        aoti_torch_empty_strided(dims, sizes, strides, int32_t(type), device, index, &tensor));
    return tensor;
  }
  bytes = (bytes + cpu::granularity - 1) / cpu::granularity * cpu::granularity;
  void* data = cpu::pool().take(bytes);
  auto error = torch_from_blob(data, dims, sizes, strides, 0, int32_t(type), device, index, &tensor,
                               aoti_torch_layout_strided(), nullptr, 0, cpu::return_to_pool,
                               reinterpret_cast<void*>(bytes));
  if (error != AOTI_TORCH_SUCCESS) cpu::pool().give_back({data, bytes});
  TORCH_ERROR_CODE_CHECK(error);
  return tensor;
}

STABLE_TORCH_LIBRARY_IMPL(internet, CompositeExplicitAutograd, m) {
  m.impl("clear_output_pool", TORCH_BOX(&cpu::clear_output_pool));
}

}  // namespace internet
