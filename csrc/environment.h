// Settings from the environment.
#pragma once

#include <cstdint>
#include <cstdlib>
#include <stdexcept>
#include <string>

namespace internet {

// A variable's number of megabytes, in bytes; `otherwise` megabytes where it is not set.
inline int64_t bytes_of_setting(const char* variable, int64_t otherwise) {
  const char* text = std::getenv(variable);
  if (text == nullptr || *text == '\0') return otherwise << 20;
  char* end = nullptr;
  const long long megabytes = std::strtoll(text, &end, 10);
  if (*end != '\0' || megabytes < 0 || megabytes > (1 << 30)) {
    throw std::runtime_error(std::string(variable) + "=" + text + ": expected a number of megabytes");
  }
  return int64_t(megabytes) << 20;
}

}  // namespace internet
