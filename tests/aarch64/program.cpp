// Calls the operators as listed in a file, and writes their results: program CALLS RESULTS THREADS. The
// format of both files is defined in tests/aarch64/exchange.py.
#include <fstream>
#include <iostream>

#include "cpu/simd/simd.h"
#include "without_torch.h"

using torch::headeronly::ScalarType;
using torch::stable::Tensor;
using without_torch::Value;

namespace torch::stable {
namespace {

template <class T>
void store_from(const Tensor& from, T* to, const std::vector<int64_t>& strides, size_t axis, int64_t offset) {
  const auto& tensor = *from.get();
  if (axis == tensor.sizes.size()) {
    *to = internet::cpu::narrow<T>(reinterpret_cast<const float*>(tensor.memory.get())[offset]);
    return;
  }
  for (int64_t i = 0; i < tensor.sizes[axis]; ++i) {
    store_from(from, to + i * strides[axis], strides, axis + 1, offset + i * tensor.strides[axis]);
  }
}

}  // namespace

// From float32, which is all that csrc/cpu asks for.
Tensor& copy_(Tensor& to, const Tensor& from) {
  STD_TORCH_CHECK(from.scalar_type() == ScalarType::Float, "copy_: expected float32");
  const auto& strides = to.get()->strides;
  if (to.scalar_type() == ScalarType::BFloat16) {
    store_from(from, static_cast<internet::cpu::BFloat16*>(to.data_ptr()), strides, 0, 0);
  } else {
    store_from(from, static_cast<internet::cpu::Half*>(to.data_ptr()), strides, 0, 0);
  }
  return to;
}

}  // namespace torch::stable

namespace {

class Reader {
 public:
  explicit Reader(const char* path) : file_(path, std::ios::binary) {
    file_.exceptions(std::ios::failbit | std::ios::badbit);
  }

  template <class T>
  T number() {
    T value;
    file_.read(reinterpret_cast<char*>(&value), sizeof(value));
    return value;
  }
  std::string text() {
    std::string text(number<int64_t>(), '\0');
    file_.read(text.data(), int64_t(text.size()));
    return text;
  }
  std::vector<int64_t> numbers(int64_t count) {
    std::vector<int64_t> values(count);
    for (int64_t& value : values) value = number<int64_t>();
    return values;
  }
  Tensor tensor() {
    const auto type = int32_t(number<int64_t>());
    const int64_t dims = number<int64_t>();
    const std::vector<int64_t> sizes = numbers(dims), strides = numbers(dims);
    AtenTensorHandle handle;
    aoti_torch_empty_strided(dims, sizes.data(), strides.data(), type, 0, 0, &handle);
    file_.read(handle->memory.get(), handle->bytes());
    return Tensor(handle);
  }
  template <class F>
  auto list(F element) {
    std::vector<decltype(element())> values;
    for (int64_t left = number<int64_t>(); left > 0; --left) values.push_back(element());
    return values;
  }
  Value value() {
    switch (number<char>()) {
      case 't':
        return tensor();
      case 'T':
        return list([&] { return tensor(); });
      case 'd':
        return number<double>();
      case 'b':
        return number<char>() != 0;
      case 'B':
        return list([&] { return number<char>() != 0; });
      case 's':
        return text();
      default:
        return {};
    }
  }

 private:
  std::ifstream file_;
};

void write(std::ofstream& file, const Tensor& tensor) {
  auto number = [&](int64_t value) { file.write(reinterpret_cast<const char*>(&value), sizeof(value)); };
  number(int64_t(tensor.scalar_type()));
  number(tensor.dim());
  for (int64_t size : tensor.get()->sizes) number(size);
  for (int64_t stride : tensor.get()->strides) number(stride);
  file.write(tensor.get()->memory.get(), tensor.get()->bytes());
}

}  // namespace

int main(int, char** arguments) try {
  Reader calls(arguments[1]);
  std::ofstream results(arguments[2], std::ios::binary);
  torch::stable::threads = uint32_t(std::stoi(arguments[3]));
  for (int64_t left = calls.number<int64_t>(); left > 0; --left) {
    const std::string name = calls.text();
    for (const Tensor& result :
         without_torch::operators().at(name)(calls.list([&] { return calls.value(); }))) {
      write(results, result);
    }
  }
  return results.flush().good() ? 0 : 1;
} catch (const std::exception& error) {
  std::cerr << error.what() << '\n';
  return 1;
}
