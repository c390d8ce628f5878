// A tensor in a file of weights, and how its elements are read.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "io/positional_file.hpp"

namespace collie {

struct StoredTensor {
  std::string name;
  std::string dtype;           // as safetensors spells it: "F32", "BF16", "I64", ...
  int element_bits = 0;        // 32 for F32; a multiple of 8 except for F4 and F6_*
  std::vector<int64_t> shape;  // [] for a scalar
  int64_t elements = 0;        // product of the shape
  uint64_t begin = 0;          // of its first element, in bytes from the file's beginning
  // Elements between neighbours of each axis; empty: dense, row by row. PyTorch's files may have others.
  std::vector<int64_t> strides;

  bool is_dense() const { return strides.empty(); }
  uint64_t bytes() const;  // of all elements, dense
};

// Whether read_floats() can read the dtype: F32, BF16, F16 or F64.
bool is_real_dtype(std::string_view dtype);

// `bytes` holds values.size() elements of a dtype for which is_real_dtype() holds. F64 is rounded to nearest,
// the others are exact.
void convert_to_float(std::string_view dtype, std::span<const std::byte> bytes, std::span<float> values);

// Reads one tensor. A dense one is read where it stands. One with strides is put in order when the reader is
// made, in memory of the tensor's size. The file must outlive the reader.
class TensorReader {
 public:
  TensorReader(const PositionalFile& file, const StoredTensor& tensor);

  // Elements [begin, begin + values.size()), flattened row by row. Throws UserError naming file and tensor if
  // its dtype has no real numbers, or with the system's reason.
  void read(int64_t begin, std::span<float> values) const;

  // The same elements as they are; `bytes` holds a whole number of them.
  void read_bytes(int64_t begin, std::span<std::byte> bytes) const;
  // All elements as they are, dense.
  std::vector<std::byte> bytes() const;

 private:
  const PositionalFile& file_;
  const StoredTensor& tensor_;
  std::vector<std::byte> dense_;  // of a tensor with strides
};

}  // namespace collie
