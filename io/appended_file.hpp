// A file that grows by whole pieces while others read it: a run's metrics and events.
#pragma once

#include <string>
#include <string_view>

#include "base/descriptor.hpp"

namespace collie {

class AppendedFile {
 public:
  // Opens `path` for appending and creates it if it is missing; its folder must exist. RunError "cannot write
  // PATH: No such file or directory".
  explicit AppendedFile(const std::string& path);

  // Adds `bytes`, which are in the file (readable by others) when this returns. RunError names the file and
  // the reason ("No space left on device"), and no part of the piece stays behind.
  void append(std::string_view bytes);

  const std::string& path() const { return path_; }

 private:
  std::string path_;
  Descriptor file_;
};

}  // namespace collie
