// The hash of a data file, which is remembered so that an unchanged file is not read again.
//
// Per data file, a sealed JSON file (sealed_json.hpp) beside the token caches keeps the hash with the file's
// state at that time: device, inode, size, and the times of writing and change. If a file's inode was changed
// less than two seconds before it was hashed, the hash is not remembered, because a later write might not
// show.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>

#include "io/mapped_file.hpp"

namespace collie {

class FileHash {
 public:
  // The hash of `file`, either as remembered under `folder` or computed from its bytes.
  FileHash(const MappedFile& file, const std::filesystem::path& folder);

  const std::string& sha256() const { return sha256_; }
  // Remembers the hash if it is new and may be kept. If it cannot be written, the file is hashed again the
  // next time.
  void remember() const;

 private:
  std::filesystem::path memory_;  // the file that remembers
  std::string state_;             // of the data file, before it was hashed; empty: not to be remembered
  std::string path_, sha256_;
  bool remembered_ = false;
};

}  // namespace collie
