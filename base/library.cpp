#include "base/library.hpp"

#include <dlfcn.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <filesystem>
#include <stdexcept>

#include "base/library_folders.hpp"
#include "base/log.hpp"

namespace collie {

Library::Library(std::string what, const std::vector<std::string>& names) : what_(std::move(what)) {
  std::vector<std::string> reasons;
  for (const std::string& name : names)
    if (opens(name, reasons)) return;
  const std::vector<std::string> folders = library_folders(this_machine());
  for (const std::string& folder : folders)
    for (const std::string& name : names)
      if (const std::string file = folder + "/" + name; std::filesystem::exists(file) && opens(file, reasons))
        return;
  const std::string places = folders.empty()
                                 ? "there is no folder of a CUDA toolkit or of Python's packages to look in"
                                 : fmt::format("looked in {}, too", fmt::join(folders, ", "));
  throw std::runtime_error(
      fmt::format("cannot load {}: {}; {}. COLLIE_ENGINE_CUDA_LIBRARIES may name the folder it is in", what_,
                  fmt::join(reasons, "; "), places));
}

bool Library::opens(const std::string& name, std::vector<std::string>& reasons) {
  handle_ = dlopen(name.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (handle_ == nullptr) {
    reasons.emplace_back(dlerror());
    return false;
  }
  log::debug("{} is {}", what_, name);
  name_ = name;
  return true;
}

void* Library::address(const char* name) const {
  void* const found = dlsym(handle_, name);
  if (found == nullptr)
    throw std::runtime_error(fmt::format("{} ({}) has no function {}: it is too old", what_, name_, name));
  return found;
}

}  // namespace collie
