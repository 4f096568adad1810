// The part of torch's stable ABI that csrc/cpu uses, with the same names, in plain C++: tensors that own
// their memory, a table of operators in place of the dispatcher, and threads. With it the unchanged CPU
// operators, glue and kernels, make a program that does not need torch.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <sstream>
#include <stdexcept>
#include <string>
#include <thread>
#include <tuple>
#include <type_traits>
#include <variant>
#include <vector>

namespace torch::headeronly {

// Numbered as in torch.
enum class ScalarType : int8_t { Half = 5, Float = 6, Double = 7, BFloat16 = 15 };

}  // namespace torch::headeronly

#define STD_TORCH_CHECK(condition, ...) \
  if (!(condition)) without_torch::refuse(__VA_ARGS__)

namespace without_torch {

using torch::headeronly::ScalarType;

template <class... Words>
[[noreturn]] void refuse(const Words&... words) {
  std::ostringstream message;
  (message << ... << words);
  throw std::runtime_error(message.str());
}

inline int64_t item_size(ScalarType type) {
  return type == ScalarType::Double ? 8 : type == ScalarType::Float ? 4 : 2;
}

}  // namespace without_torch

// A tensor; strides in elements.
struct AtenTensorOpaque {
  std::vector<int64_t> sizes, strides;
  without_torch::ScalarType type;
  std::unique_ptr<char[]> memory;

  int64_t numel() const {
    int64_t count = 1;
    for (int64_t size : sizes) count *= size;
    return count;
  }
  // The elements from the first to the last one, gaps included.
  int64_t extent() const {
    if (numel() == 0) return 0;
    int64_t last = 0;
    for (size_t axis = 0; axis < sizes.size(); ++axis) last += (sizes[axis] - 1) * strides[axis];
    return last + 1;
  }
  int64_t bytes() const { return extent() * without_torch::item_size(type); }
};

using AtenTensorHandle = AtenTensorOpaque*;
using AOTITorchError = int32_t;
constexpr AOTITorchError AOTI_TORCH_SUCCESS = 0;
#define TORCH_ERROR_CODE_CHECK(call) STD_TORCH_CHECK((call) == AOTI_TORCH_SUCCESS, #call)

inline int32_t aoti_torch_device_type_cpu() { return 0; }
inline int32_t aoti_torch_layout_strided() { return 0; }
// The memory is filled with NaN, whatever the type, so that reading uninitialised memory is noticed.
inline AOTITorchError aoti_torch_empty_strided(int64_t dims, const int64_t* sizes, const int64_t* strides,
                                               int32_t type, int32_t, int32_t, AtenTensorHandle* out) {
  auto* tensor = new AtenTensorOpaque{
      {sizes, sizes + dims}, {strides, strides + dims}, without_torch::ScalarType(type), nullptr};
  tensor->memory.reset(new char[tensor->bytes()]);
  std::memset(tensor->memory.get(), 0xff, tensor->bytes());
  *out = tensor;
  return AOTI_TORCH_SUCCESS;
}

namespace torch::stable {

class Tensor {
 public:
  Tensor() = default;  // to be assigned to, and nothing else
  explicit Tensor(AtenTensorHandle handle) : tensor_(handle) {}

  int64_t dim() const { return int64_t(tensor_->sizes.size()); }
  int64_t size(int64_t axis) const { return tensor_->sizes.at(axis); }
  int64_t stride(int64_t axis) const { return tensor_->strides.at(axis); }
  int64_t numel() const { return tensor_->numel(); }
  headeronly::ScalarType scalar_type() const { return tensor_->type; }
  int device() const { return 0; }
  void* data_ptr() const { return tensor_->memory.get(); }
  AtenTensorHandle get() const { return tensor_.get(); }

 private:
  std::shared_ptr<AtenTensorOpaque> tensor_;
};

// How many threads the program was asked for.
inline uint32_t threads = 1;
inline uint32_t get_num_threads() { return threads; }

template <class F>
void parallel_for(int64_t begin, int64_t end, int64_t grain, const F& f) {
  const int64_t parts = std::min<int64_t>(threads, (end - begin + grain - 1) / grain);
  const int64_t step = (end - begin + parts - 1) / parts;
  std::vector<std::thread> running;
  for (int64_t from = begin; from < end; from += step) {
    running.emplace_back([&f, from, to = std::min(from + step, end)] { f(from, to); });
  }
  for (std::thread& thread : running) thread.join();
}

inline Tensor& zero_(Tensor& tensor) {
  std::memset(tensor.data_ptr(), 0, tensor.get()->bytes());
  return tensor;
}

Tensor& copy_(Tensor& to, const Tensor& from);

}  // namespace torch::stable

namespace without_torch {

using torch::stable::Tensor;

// An argument of an operator; nothing stands for None.
using Value =
    std::variant<std::monostate, Tensor, std::vector<Tensor>, double, bool, std::string, std::vector<bool>>;
using Operator = std::function<std::vector<Tensor>(const std::vector<Value>&)>;

template <class T>
struct Argument {
  static T of(const Value& value) { return std::get<T>(value); }
};
template <>
struct Argument<std::optional<Tensor>> {
  static std::optional<Tensor> of(const Value& value) {
    return value.index() == 0 ? std::nullopt : std::optional(std::get<Tensor>(value));
  }
};

template <>
struct Argument<std::vector<bool>> {
  static std::vector<bool> of(const Value& value) {  // an empty list has no type
    const auto* none = std::get_if<std::vector<Tensor>>(&value);
    return none != nullptr && none->empty() ? std::vector<bool>{} : std::get<std::vector<bool>>(value);
  }
};

inline void append(std::vector<Tensor>& results, const Tensor& tensor) { results.push_back(tensor); }
inline void append(std::vector<Tensor>& results, const std::vector<Tensor>& tensors) {
  results.insert(results.end(), tensors.begin(), tensors.end());
}
template <class... T>
void append(std::vector<Tensor>& results, const std::tuple<T...>& parts) {
  std::apply([&](const auto&... part) { (append(results, part), ...); }, parts);
}
inline void append(std::vector<Tensor>&, int64_t) {}  // cpu_isa, clear_output_pool: never called

template <class R, class... Arguments, size_t... i>
Operator boxed(R (*function)(Arguments...), std::index_sequence<i...>) {
  return [function](const std::vector<Value>& values) {
    std::vector<Tensor> results;
    append(results, function(Argument<Arguments>::of(values.at(i))...));
    return results;
  };
}
template <class R, class... Arguments>
Operator boxed(R (*function)(Arguments...)) {
  return boxed(function, std::index_sequence_for<Arguments...>{});
}

class Operators {
 public:
  void impl(const std::string& name, Operator function) { by_name_[name] = std::move(function); }
  const Operator& at(const std::string& name) const { return by_name_.at(name); }

 private:
  std::map<std::string, Operator> by_name_;
};

inline Operators& operators() {
  static Operators all;
  return all;
}

}  // namespace without_torch

#define TORCH_BOX(function) without_torch::boxed(function)
#define STABLE_TORCH_LIBRARY_IMPL(library, key, m)                                                        \
  static void register_operators(without_torch::Operators& m);                                            \
  [[maybe_unused]] static const bool registered = (register_operators(without_torch::operators()), true); \
  static void register_operators(without_torch::Operators& m)
