// Libraries that are loaded at run time, so that one program runs on machines with them and without them.
#pragma once

#include <string>
#include <vector>

namespace collie {

// A shared library that stays loaded.
class Library {
 public:
  // Loads the first of `names` that the dynamic linker finds, or that is in one of library_folders(). Throws
  // a std::runtime_error that names `what`, the linker's reasons, the folders, and how to name another.
  Library(std::string what, const std::vector<std::string>& names);

  const std::string& name() const { return name_; }
  // Throws std::runtime_error if the library has no such function (it is too old).
  template <class Function>
  void find(Function*& function, const char* name) const {
    function = reinterpret_cast<Function*>(address(name));
  }

 private:
  bool opens(const std::string& name, std::vector<std::string>& reasons);
  void* address(const char* name) const;
  std::string what_, name_;
  void* handle_ = nullptr;
};

}  // namespace collie
