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

namespace collie {

// A text about a file, which holds as long as the file is as it was.
class FileMemory {
 public:
  // Looks at the state of `file` now. The text is kept under `folder`, with a name of its own for each
  // `suffix`.
  FileMemory(const std::string& file, const std::filesystem::path& folder, const std::string& suffix);

  // What was kept of the file in this state; empty if nothing was.
  std::string recall() const;
  // Keeps `text`, if the file is still in the state that the constructor saw, and that may be remembered. If
  // it cannot be written, nothing is kept.
  void keep(const std::string& text) const;

 private:
  std::filesystem::path memory_;  // the file that remembers
  std::string path_, state_;      // state_ is empty if it is not to be remembered
};

class FileHash {
 public:
  // The hash of the file at `path`, either as remembered under `folder` or computed from its bytes, which are
  // read piece by piece. Throws UserError naming the file and the system's reason.
  FileHash(const std::string& path, const std::filesystem::path& folder);

  const std::string& sha256() const { return sha256_; }
  // Remembers the hash if it is new and may be kept. If it cannot be written, the file is hashed again the
  // next time.
  void remember() const;

 private:
  FileMemory memory_;
  std::string sha256_;
  bool remembered_ = false;
};

}  // namespace collie
