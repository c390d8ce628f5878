#include "io/safetensors.hpp"

#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <nlohmann/json.hpp>
#include <tuple>
#include <utility>

#include "base/error.hpp"
#include "base/quote.hpp"
#include "io/json_text.hpp"

namespace collie {

namespace {

constexpr uint64_t length_bytes = 8;
constexpr uint64_t longest_header = 100'000'000;  // the reference reader's limit

constexpr std::array<std::pair<std::string_view, int>, 22> dtype_bits = {{
    {"BOOL", 8},        {"U8", 8},          {"I8", 8},    {"F8_E5M2", 8}, {"F8_E4M3", 8}, {"F8_E8M0", 8},
    {"F8_E4M3FNUZ", 8}, {"F8_E5M2FNUZ", 8}, {"F4", 4},    {"F6_E2M3", 6}, {"F6_E3M2", 6}, {"I16", 16},
    {"U16", 16},        {"F16", 16},        {"BF16", 16}, {"I32", 32},    {"U32", 32},    {"F32", 32},
    {"C64", 64},        {"F64", 64},        {"I64", 64},  {"U64", 64},
}};

// Reads the header of one file, entry by entry. Every message names the file and the tensor.
class HeaderReader {
 public:
  HeaderReader(const PositionalFile& file) : opened_(file), file_(file.path().string()) {}

  void read() {
    const nlohmann::json header = parse(header_text());
    for (const auto& [name, description] : header.items()) {
      if (name == "__metadata__")
        read_metadata(description);
      else
        read_tensor(name, description);
    }
    check_cover();
  }

  std::vector<StoredTensor> tensors;
  std::map<std::string, std::string> metadata;

 private:
  template <class... Arguments>
  [[noreturn]] void refuse(fmt::format_string<Arguments...> format, Arguments&&... arguments) const {
    throw UserError("{}: not a valid safetensors file: {}", file_,
                    fmt::format(format, std::forward<Arguments>(arguments)...));
  }

  std::string header_text() {
    if (opened_.size() < length_bytes)
      refuse("it has {} bytes, and the format starts with an 8-byte header length", opened_.size());
    uint64_t length = 0;
    opened_.read(0, std::as_writable_bytes(std::span(&length, 1)));
    if (length > longest_header)
      refuse("its header length is {}, and the format allows at most {} bytes", length, longest_header);
    if (length > opened_.size() - length_bytes)
      refuse("its header length is {}, but only {} bytes follow (is the file truncated?)", length,
             opened_.size() - length_bytes);
    data_begin_ = length_bytes + length;
    data_bytes_ = opened_.size() - data_begin_;
    std::string text(static_cast<size_t>(length), '\0');
    opened_.read(length_bytes, std::as_writable_bytes(std::span(text)));
    return text;
  }

  nlohmann::json parse(std::string_view text) const {
    if (text.empty() || text.front() != '{')
      refuse("its header does not start with '{{'; it must be a JSON object");
    return parse_json_object(text, file_ + ": not a valid safetensors file: its header");
  }

  void read_metadata(const nlohmann::json& description) {
    if (!description.is_object())
      refuse("__metadata__ is {}; it must be an object of strings", description.type_name());
    for (const auto& [key, value] : description.items()) {
      if (!value.is_string())
        refuse("__metadata__ '{}' is {}; its values must be strings", shortened(key), value.type_name());
      metadata[key] = value.get<std::string>();
    }
  }

  void read_tensor(const std::string& name, const nlohmann::json& description) {
    if (!description.is_object())
      refuse("tensor '{}' is {}; it must be an object", shortened(name), description.type_name());
    for (const auto& [key, value] : description.items())
      if (key != "dtype" && key != "shape" && key != "data_offsets")
        refuse("tensor '{}' has an unknown key '{}'; it must have dtype, shape and data_offsets",
               shortened(name), shortened(key));
    StoredTensor entry;
    entry.name = name;
    read_dtype(entry, description);
    read_shape(entry, description);
    read_offsets(entry, description);
    tensors.push_back(std::move(entry));
  }

  const nlohmann::json& member(const std::string& name, const nlohmann::json& description,
                               const char* key) const {
    const auto found = description.find(key);
    if (found == description.end())
      refuse("tensor '{}' has no {}; it must have dtype, shape and data_offsets", shortened(name), key);
    return *found;
  }

  void read_dtype(StoredTensor& entry, const nlohmann::json& description) const {
    const auto& dtype = member(entry.name, description, "dtype");
    if (!dtype.is_string())
      refuse("tensor '{}': dtype is {}; it must be a string such as \"F32\"", shortened(entry.name),
             dtype.type_name());
    entry.dtype = dtype.get<std::string>();
    const auto bits = safetensors_element_bits(entry.dtype);
    if (!bits) {
      std::vector<std::string_view> known;
      for (const auto& [each, width] : dtype_bits) known.push_back(each);
      refuse("tensor '{}': unknown dtype '{}'; known: {}", shortened(entry.name), shortened(entry.dtype),
             fmt::join(known, ", "));
    }
    entry.element_bits = *bits;
  }

  void read_shape(StoredTensor& entry, const nlohmann::json& description) const {
    const auto& shape = member(entry.name, description, "shape");
    if (!shape.is_array())
      refuse("tensor '{}': shape is {}; it must be a list of sizes", shortened(entry.name),
             shape.type_name());
    entry.elements = 1;
    for (const auto& size : shape) {
      if (!size.is_number_unsigned())
        refuse("tensor '{}': shape {} has an entry that is not a whole number of at least 0",
               shortened(entry.name), in_short(shape));
      entry.shape.push_back(static_cast<int64_t>(size.get<uint64_t>()));
      if (entry.shape.back() < 0 ||
          __builtin_mul_overflow(entry.elements, entry.shape.back(), &entry.elements))
        refuse("tensor '{}': shape {} has more elements than any file can hold", shortened(entry.name),
               in_short(shape));
    }
  }

  void read_offsets(StoredTensor& entry, const nlohmann::json& description) {
    const auto& offsets = member(entry.name, description, "data_offsets");
    if (!offsets.is_array() || offsets.size() != 2 || !offsets[0].is_number_unsigned() ||
        !offsets[1].is_number_unsigned())
      refuse("tensor '{}': data_offsets is {}; it must be [begin, end]", shortened(entry.name),
             in_short(offsets));
    const auto begin = offsets[0].get<uint64_t>();
    const auto end = offsets[1].get<uint64_t>();
    if (begin > end || end > data_bytes_)
      refuse("tensor '{}': data_offsets [{}, {}] do not lie within the {} bytes after the header{}",
             shortened(entry.name), begin, end, data_bytes_, begin <= end ? " (is the file truncated?)" : "");
    int64_t bits = 0;
    if (__builtin_mul_overflow(entry.elements, int64_t{entry.element_bits}, &bits) || bits % 8 != 0 ||
        static_cast<uint64_t>(bits / 8) != end - begin)
      refuse("tensor '{}': data_offsets [{}, {}] hold {} bytes, but shape {} of {} needs {} bits",
             shortened(entry.name), begin, end, end - begin,
             in_short(member(entry.name, description, "shape")), entry.dtype,
             bits > 0 ? std::to_string(bits) : "too many");
    entry.begin = data_begin_ + begin;
  }

  // The format allows no overlaps, no holes and nothing after the last tensor.
  void check_cover() {
    std::sort(tensors.begin(), tensors.end(), [](const StoredTensor& a, const StoredTensor& b) {
      return std::tuple(a.begin, a.bytes(), std::string_view(a.name)) <
             std::tuple(b.begin, b.bytes(), std::string_view(b.name));
    });
    uint64_t covered = 0;
    for (const auto& tensor : tensors) {
      const uint64_t begin = tensor.begin - data_begin_;
      if (begin != covered)
        refuse("tensor '{}' starts at byte {} of the data, but the tensors before it end at {}: {}",
               shortened(tensor.name), begin, covered,
               begin < covered ? "they overlap" : "the format allows no hole");
      covered += tensor.bytes();
    }
    if (covered != data_bytes_)
      refuse("the tensors end at byte {} of the data, and {} bytes follow; the format allows none", covered,
             data_bytes_ - covered);
  }

  const PositionalFile& opened_;
  const std::string file_;
  uint64_t data_begin_ = 0, data_bytes_ = 0;
};

}  // namespace

std::optional<int> safetensors_element_bits(std::string_view dtype) {
  for (const auto& [name, bits] : dtype_bits)
    if (name == dtype) return bits;
  return std::nullopt;
}

SafetensorsFile::SafetensorsFile(const std::filesystem::path& file) : file_(file) {
  read_header();
}

void SafetensorsFile::read_header() {
  HeaderReader reader(file_);
  reader.read();
  tensors_ = std::move(reader.tensors);
  metadata_ = std::move(reader.metadata);
  for (size_t i = 0; i < tensors_.size(); ++i) index_.emplace(tensors_[i].name, i);
}

const StoredTensor& SafetensorsFile::find(const std::string& name) const {
  const auto found = index_.find(name);
  if (found == index_.end())
    throw UserError("{}: it has no tensor '{}' among its {}", path().string(), shortened(name),
                    tensors_.size());
  return tensors_[found->second];
}

void SafetensorsFile::to_float(const std::string& name, std::span<float> values) const {
  const StoredTensor& entry = find(name);
  COLLIE_ASSERT(static_cast<int64_t>(values.size()) == entry.elements,
                "{}: {} values for the {} elements of '{}'", path().string(), values.size(), entry.elements,
                name);
  TensorReader(file_, entry).read(0, values);
}

std::vector<std::byte> SafetensorsFile::bytes(const std::string& name) const {
  return TensorReader(file_, find(name)).bytes();
}

}  // namespace collie
