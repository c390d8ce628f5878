// The entries of a zip archive that are stored as they are, as PyTorch stores them. Format: PKWARE's
// APPNOTE.TXT, version 6.3, with zip64.
#pragma once

#include <cstdint>
#include <map>
#include <string>

#include "io/positional_file.hpp"

namespace collie {

class ZipFile {
 public:
  // The longest directory of entries that is read.
  static constexpr uint64_t longest_directory = uint64_t{64} << 20;

  // Reads the directory of entries. Throws UserError naming file and entry: for what is not a whole zip
  // archive, and for an entry that is there twice.
  explicit ZipFile(const PositionalFile& file);

  struct Entry {
    uint64_t header = 0;  // where its local header begins, in bytes from the file's beginning
    uint64_t bytes = 0;   // stored
    uint64_t unpacked = 0;
    uint16_t method = 0, flags = 0;
  };
  const std::map<std::string, Entry>& entries() const { return entries_; }

  // Where the entry's bytes begin; all of them lie within the file. Throws UserError naming file and entry if
  // it is not there or damaged.
  uint64_t begin_of(const std::string& name) const;

 private:
  const PositionalFile& file_;
  std::map<std::string, Entry> entries_;
};

}  // namespace collie
