#include "kernel_needs.h"

#include <dlfcn.h>
#include <elf.h>

#include <algorithm>
#include <cstdint>
#include <fstream>
#include <iterator>
#include <map>
#include <stdexcept>
#include <string>
#include <vector>

namespace emulated {
namespace {

// This library's own symbols, including hidden ones.
struct Symbols {
  std::map<uintptr_t, std::string> functions;           // by address
  std::vector<std::pair<std::string, size_t>> statics;  // `__shared__` variables, which are thread-local here

  Symbols() {
    Dl_info here{};
    dladdr(reinterpret_cast<void*>(&needs_of), &here);
    std::ifstream stream(here.dli_fname, std::ios::binary);
    const std::vector<char> file{std::istreambuf_iterator<char>(stream), {}};
    const auto* header = reinterpret_cast<const Elf64_Ehdr*>(file.data());
    if (file.size() < sizeof *header) throw std::runtime_error(std::string("cannot read ") + here.dli_fname);
    const auto* sections = reinterpret_cast<const Elf64_Shdr*>(file.data() + header->e_shoff);
    for (int i = 0; i < header->e_shnum; ++i) {
      if (sections[i].sh_type != SHT_SYMTAB) continue;
      const char* names = file.data() + sections[sections[i].sh_link].sh_offset;
      const auto* symbol = reinterpret_cast<const Elf64_Sym*>(file.data() + sections[i].sh_offset);
      for (const auto* end = symbol + sections[i].sh_size / sizeof *symbol; symbol != end; ++symbol) {
        const int type = ELF64_ST_TYPE(symbol->st_info);
        const char* name = names + symbol->st_name;
        if (type == STT_FUNC)
          functions[reinterpret_cast<uintptr_t>(here.dli_fbase) + symbol->st_value] = name;
        if (type == STT_TLS) statics.emplace_back(name, symbol->st_size);
      }
    }
    if (functions.empty()) throw std::runtime_error(std::string("no symbols in ") + here.dli_fname);
  }

  // A function's variable is named _ZZ <function> E <variable>, the function itself _Z <function>.
  size_t bytes_of(const std::string& function) const {
    const std::string prefix = "_ZZ" + function.substr(2) + "E";
    size_t total = 0;
    for (const auto& [name, size] : statics) {
      if (name.compare(0, prefix.size(), prefix) == 0) total += size;
    }
    return total;
  }
};

// include/cuda_runtime.h encodes __launch_bounds__ as that many NOPs at the beginning of the kernel.
unsigned nops_at(const unsigned char* code) {
  const unsigned char endbr64[] = {0xf3, 0x0f, 0x1e, 0xfa};
  if (std::equal(endbr64, endbr64 + 4, code)) code += 4;
  unsigned count = 0;
  while (code[count] == 0x90) ++count;
  return count;
}

}  // namespace

const KernelNeeds& needs_of(const void* kernel) {
  static const Symbols symbols;
  static std::map<const void*, KernelNeeds> known;
  const auto found = known.find(kernel);
  if (found != known.end()) return found->second;
  const auto function = symbols.functions.find(reinterpret_cast<uintptr_t>(kernel));
  if (function == symbols.functions.end()) throw std::runtime_error("a kernel without a symbol");
  const unsigned bound = nops_at(static_cast<const unsigned char*>(kernel));
  return known[kernel] = {bound == 0 ? 1024 : bound, symbols.bytes_of(function->second)};
}

}  // namespace emulated
