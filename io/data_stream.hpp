// The bytes of a data file, one part after another, unpacked if the file is compressed. Memory holds some MiB
// of it, however large the file is.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>

namespace collie {

class DataStream {
 public:
  // A file whose bytes begin as gzip's (RFC 1952) or Zstandard's (RFC 8878) do is unpacked; others are read
  // as they are. Throws UserError naming the file and the system's reason.
  explicit DataStream(const std::string& path);
  ~DataStream();
  DataStream(const DataStream&) = delete;
  DataStream& operator=(const DataStream&) = delete;

  const std::string& path() const;
  // Reads into `out`, and returns how many bytes; 0 only at the end. Throws UserError naming the file if it
  // is damaged, has changed its size since it was opened, or unpacks to more than 1 TiB.
  size_t read(std::span<char> out);

  uint64_t file_bytes() const;  // of the file as it lies on disk
  uint64_t bytes_read() const;  // of those

 private:
  class Source;
  class Gzip;
  class Zstandard;

  std::unique_ptr<Source> source_;
  std::unique_ptr<Gzip> gzip_;
  std::unique_ptr<Zstandard> zstandard_;
  uint64_t given_ = 0;
};

}  // namespace collie
