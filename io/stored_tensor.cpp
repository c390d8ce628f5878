#include "io/stored_tensor.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <numeric>

#include "base/error.hpp"
#include "base/quote.hpp"
#include "io/half.hpp"

namespace collie {

namespace {

static_assert(std::endian::native == std::endian::little, "files of weights are little-endian");

template <class Stored, class Convert>
void convert_all(std::span<const std::byte> bytes, std::span<float> values, Convert convert) {
  for (size_t i = 0; i < values.size(); ++i) {
    Stored stored;
    std::memcpy(&stored, bytes.data() + i * sizeof(Stored), sizeof(Stored));
    values[i] = convert(stored);
  }
}

// A part of a file, which moves along with what is asked for.
class Window {
 public:
  Window(const PositionalFile& file, size_t bytes) : file_(file), held_(bytes) {}

  const std::byte* at(uint64_t begin, size_t size) {
    if (begin < begin_ || begin + size > begin_ + count_) {
      count_ = std::min<uint64_t>(std::max(held_.size(), size), file_.size() - begin);
      held_.resize(std::max(held_.size(), static_cast<size_t>(count_)));
      file_.read(begin, std::span(held_).first(static_cast<size_t>(count_)));
      begin_ = begin;
    }
    return held_.data() + (begin - begin_);
  }

 private:
  const PositionalFile& file_;
  std::vector<std::byte> held_;
  uint64_t begin_ = 0, count_ = 0;
};

struct Axis {
  int64_t size, stride, dense_stride;  // strides in elements
};

// The axes in the file's order, the one whose neighbours are farthest apart first.
std::vector<Axis> axes_of(const StoredTensor& tensor) {
  std::vector<Axis> axes(tensor.shape.size());
  int64_t dense = 1;
  for (size_t axis = axes.size(); axis-- > 0; dense *= tensor.shape[axis])
    axes[axis] = {tensor.shape[axis], tensor.strides[axis], dense};
  std::stable_sort(axes.begin(), axes.end(),
                   [](const Axis& a, const Axis& b) { return a.stride > b.stride; });
  return axes;
}

// Bytes of a window that are read at once: many where the tensor's elements lie close together.
size_t window_bytes(const StoredTensor& tensor, const std::vector<Axis>& axes) {
  const size_t width = static_cast<size_t>(tensor.element_bits) / 8;
  int64_t extent = 1;
  for (const Axis& axis : axes) extent += (axis.size - 1) * axis.stride;
  return extent / 4 <= tensor.elements ? size_t{1} << 20 : width;
}

// The elements of a tensor with strides, row by row. The file is read in its own order.
std::vector<std::byte> in_order(const PositionalFile& file, const StoredTensor& tensor) {
  const size_t width = static_cast<size_t>(tensor.element_bits) / 8;
  const std::vector<Axis> axes = axes_of(tensor);
  std::vector<std::byte> dense(static_cast<size_t>(tensor.bytes()));
  Window window(file, window_bytes(tensor, axes));
  std::vector<int64_t> index(axes.size(), 0);
  int64_t from = 0, to = 0;  // in elements
  for (int64_t done = 0; done < tensor.elements; ++done) {
    const std::byte* element = window.at(tensor.begin + static_cast<uint64_t>(from) * width, width);
    std::memcpy(dense.data() + static_cast<size_t>(to) * width, element, width);
    for (size_t axis = axes.size(); axis-- > 0;) {
      from += axes[axis].stride;
      to += axes[axis].dense_stride;
      if (++index[axis] < axes[axis].size) break;
      from -= axes[axis].size * axes[axis].stride;
      to -= axes[axis].size * axes[axis].dense_stride;
      index[axis] = 0;
    }
  }
  return dense;
}

}  // namespace

uint64_t StoredTensor::bytes() const {
  return static_cast<uint64_t>(elements) * static_cast<uint64_t>(element_bits) / 8;
}

bool is_real_dtype(std::string_view dtype) {
  return dtype == "F32" || dtype == "BF16" || dtype == "F16" || dtype == "F64";
}

void convert_to_float(std::string_view dtype, std::span<const std::byte> bytes, std::span<float> values) {
  if (values.empty()) return;
  if (dtype == "F32") std::memcpy(values.data(), bytes.data(), bytes.size());
  if (dtype == "F16") convert_all<uint16_t>(bytes, values, float_from_half);
  if (dtype == "BF16")
    convert_all<uint16_t>(bytes, values,
                          [](uint16_t bits) { return std::bit_cast<float>(uint32_t{bits} << 16); });
  if (dtype == "F64")
    convert_all<double>(bytes, values, [](double value) { return static_cast<float>(value); });
}

TensorReader::TensorReader(const PositionalFile& file, const StoredTensor& tensor)
    : file_(file), tensor_(tensor) {
  if (!tensor.is_dense()) dense_ = in_order(file, tensor);
}

void TensorReader::read_bytes(int64_t begin, std::span<std::byte> bytes) const {
  const uint64_t first = static_cast<uint64_t>(begin) * static_cast<uint64_t>(tensor_.element_bits) / 8;
  if (tensor_.is_dense()) return file_.read(tensor_.begin + first, bytes);
  if (!bytes.empty()) std::memcpy(bytes.data(), dense_.data() + first, bytes.size());
}

void TensorReader::read(int64_t begin, std::span<float> values) const {
  const auto count = static_cast<int64_t>(values.size());
  COLLIE_ASSERT(begin >= 0 && begin + count <= tensor_.elements, "{}: elements [{}, {}) of the {} of '{}'",
                file_.path().string(), begin, begin + count, tensor_.elements, tensor_.name);
  if (!is_real_dtype(tensor_.dtype))
    throw UserError("{}: tensor '{}' has dtype {}; as real numbers only F32, BF16, F16 and F64 can be read",
                    file_.path().string(), shortened(tensor_.name), tensor_.dtype);
  if (tensor_.dtype == "F32") return read_bytes(begin, std::as_writable_bytes(values));
  const size_t width = static_cast<size_t>(tensor_.element_bits) / 8;
  std::array<std::byte, size_t{1} << 16> piece;  // still in the cache when it is converted
  for (size_t done = 0; done < values.size();) {
    const size_t some = std::min(values.size() - done, piece.size() / width);
    const std::span bytes = std::span(piece).first(some * width);
    read_bytes(begin + static_cast<int64_t>(done), bytes);
    convert_to_float(tensor_.dtype, bytes, values.subspan(done, some));
    done += some;
  }
}

std::vector<std::byte> TensorReader::bytes() const {
  std::vector<std::byte> all(static_cast<size_t>(tensor_.bytes()));
  read_bytes(0, all);
  return all;
}

}  // namespace collie
