// A regular file that is read at positions. It is read and not mapped: what the disk cannot read, or a file
// that has shrunk, is then an error and not a signal, and pages of the file do not count as memory of the
// process.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>

#include "base/regular_file.hpp"

namespace collie {

// Threads may share it.
class PositionalFile {
 public:
  // Throws UserError naming the file and the system's reason.
  explicit PositionalFile(const std::filesystem::path& file);

  const std::filesystem::path& path() const { return path_; }
  uint64_t size() const { return file_.bytes; }  // bytes, when it was opened

  // Fills `bytes` from byte `begin` of the file. Throws UserError naming the file: with the system's reason,
  // or if it ends before.
  void read(uint64_t begin, std::span<std::byte> bytes) const;

 private:
  std::filesystem::path path_;
  RegularFile file_;
};

}  // namespace collie
