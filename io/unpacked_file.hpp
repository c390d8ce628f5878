// Data files that are compressed.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>

#include "io/mapped_file.hpp"

namespace collie {

// The contents of a data file. A file whose bytes begin as gzip's (RFC 1952) or Zstandard's (RFC 8878) do is
// unpacked into a file beside `cache`, which is deleted with this object, so that memory holds none of it. At
// most 1 TiB is unpacked.
class UnpackedFile {
 public:
  // `file` must outlive it. Throws UserError naming the file if it is damaged, and RunError if the disk is
  // full.
  UnpackedFile(const MappedFile& file, const std::filesystem::path& cache);
  ~UnpackedFile();
  UnpackedFile(const UnpackedFile&) = delete;
  UnpackedFile& operator=(const UnpackedFile&) = delete;

  std::string_view text() const { return text_; }

 private:
  std::string temporary_;  // empty: the file was not compressed
  MappedFile unpacked_;
  std::string_view text_;
};

}  // namespace collie
