// A thread's scratch memory: uninitialised, aligned to a cache line, freed at the end of the scope.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <new>

namespace internet::cpu {

template <class T>
class WorkingMemory {
 public:
  __attribute__((always_inline)) explicit WorkingMemory(int64_t count)
      : memory_(static_cast<T*>(::operator new(size_t(count > 0 ? count : 1) * sizeof(T), alignment))) {}
  __attribute__((always_inline)) ~WorkingMemory() { ::operator delete(memory_, alignment); }
  WorkingMemory(const WorkingMemory&) = delete;
  WorkingMemory& operator=(const WorkingMemory&) = delete;

  __attribute__((always_inline)) T* data() const { return memory_; }
  __attribute__((always_inline)) T& operator[](int64_t i) const { return memory_[i]; }

 private:
  static constexpr std::align_val_t alignment{64};
  T* memory_;
};

}  // namespace internet::cpu
