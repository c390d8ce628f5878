// The safetensors format: 8 bytes of header length (little-endian), a JSON header, then the tensors' bytes
// without holes. Format: https://github.com/huggingface/safetensors#format
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "io/positional_file.hpp"
#include "io/stored_tensor.hpp"

namespace collie {

// The number of bits of one element of a safetensors dtype ("F32", "BF16", "I64", "F8_E4M3", "F4", ...);
// empty if the dtype is unknown.
std::optional<int> safetensors_element_bits(std::string_view dtype);

// A safetensors file. Its header is read and verified, against the file's size, when it is opened. It is
// immutable, so threads may share it.
class SafetensorsFile {
 public:
  // Throws UserError naming file, tensor, what was found and what would be right.
  explicit SafetensorsFile(const std::filesystem::path& file);

  const std::filesystem::path& path() const { return file_.path(); }
  const std::vector<StoredTensor>& tensors() const { return tensors_; }  // in the order of their bytes
  const std::map<std::string, std::string>& metadata() const { return metadata_; }

  bool contains(const std::string& name) const { return index_.count(name) > 0; }
  // Throws UserError naming the file if it has no tensor of that name.
  const StoredTensor& find(const std::string& name) const;

  // Converts tensor `name` (F32, BF16, F16 or F64; else UserError) to `values`, whose size must be the
  // tensor's element count.
  void to_float(const std::string& name, std::span<float> values) const;
  // The file itself, for a TensorReader.
  const PositionalFile& file() const { return file_; }
  // The tensor's bytes as they are. Throws UserError like find().
  std::vector<std::byte> bytes(const std::string& name) const;

 private:
  void read_header();

  PositionalFile file_;
  std::vector<StoredTensor> tensors_;
  std::unordered_map<std::string, size_t> index_;
  std::map<std::string, std::string> metadata_;
};

// One tensor to write. `bytes` is called once, when its turn comes. Its result must stay valid until the next
// tensor's turn, so only one tensor needs to be in host memory at a time.
struct SafetensorsItem {
  std::string name;
  std::string dtype;
  std::vector<int64_t> shape;
  std::function<std::span<const std::byte>()> bytes;
};

struct WrittenSafetensors {
  uint64_t bytes = 0;  // of the whole file
  std::string sha256;  // of the whole file, 64 hexadecimal digits
};

// Writes `items` in their order. (If dtypes are mixed, put larger elements first, so that each tensor is
// aligned to its element.) The metadata default is what transformers asks for. `durable` waits until the disk
// has the data (fsync of the file; the caller renames it into place and does the folder's fsync). An existing
// file is replaced. Throws RunError naming the file and the system's reason (disk full, no permission); the
// partial file is removed.
WrittenSafetensors write_safetensors(const std::filesystem::path& file,
                                     std::span<const SafetensorsItem> items, bool durable = false,
                                     const std::map<std::string, std::string>& metadata = {{"format", "pt"}});

}  // namespace collie
