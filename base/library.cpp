#include "base/library.hpp"

#include <dlfcn.h>
#include <fmt/format.h>

#include <stdexcept>

namespace collie {

Library::Library(std::string what, const std::vector<std::string>& names) : what_(std::move(what)) {
  std::string reasons;
  for (const std::string& name : names) {
    handle_ = dlopen(name.c_str(), RTLD_NOW | RTLD_LOCAL);
    if (handle_ != nullptr) {
      name_ = name;
      return;
    }
    reasons += fmt::format("{}{}", reasons.empty() ? "" : "; ", dlerror());
  }
  throw std::runtime_error(fmt::format("cannot load {}: {}", what_, reasons));
}

void* Library::address(const char* name) const {
  void* const found = dlsym(handle_, name);
  if (found == nullptr)
    throw std::runtime_error(fmt::format("{} ({}) has no function {}: it is too old", what_, name_, name));
  return found;
}

}  // namespace collie
