// A thread's scratch memory: uninitialised, aligned to a cache line, freed at the end of the scope.
#pragma once

#include <algorithm>
#include <cstdint>
#include <new>

#include "math/host_device.h"

namespace internet::cpu {

template <class T>
class Scratch {
 public:
  INTERNET_MEMBER explicit Scratch(int64_t count) : memory_(allocate(count)) {}
  INTERNET_MEMBER ~Scratch() { ::operator delete(memory_, alignment); }
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;

  INTERNET_MEMBER T* data() const { return memory_; }
  INTERNET_MEMBER T& operator[](int64_t i) const { return memory_[i]; }

  // Replaces the memory by other memory of another size.
  INTERNET_MEMBER void replace(int64_t count) {
    T* other = allocate(count);
    ::operator delete(memory_, alignment);
    memory_ = other;
  }

 private:
  INTERNET_MEMBER static T* allocate(int64_t count) {
    return static_cast<T*>(::operator new(size_t(std::max<int64_t>(count, 1)) * sizeof(T), alignment));
  }

  static constexpr std::align_val_t alignment{64};
  T* memory_;
};

// Scratch memory that can grow, and then loses its content. A class of its own, so that Scratch remains a
// bare pointer, which leaves the most registers to kernels.
template <class T>
class GrowingScratch {
 public:
  INTERNET_MEMBER GrowingScratch() : memory_(0) {}
  // Inlined: a compiler-generated one could be the copy of another instruction set.
  INTERNET_MEMBER ~GrowingScratch() {}

  INTERNET_MEMBER T* at_least(int64_t count) {
    if (count > count_) {
      memory_.replace(count);
      count_ = count;
    }
    return memory_.data();
  }
  INTERNET_MEMBER T* data() const { return memory_.data(); }
  INTERNET_MEMBER T& operator[](int64_t i) const { return memory_[i]; }

 private:
  Scratch<T> memory_;
  int64_t count_ = 0;
};

}  // namespace internet::cpu
