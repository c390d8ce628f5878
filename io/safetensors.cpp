#include "io/safetensors.hpp"

#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <nlohmann/json.hpp>
#include <tuple>
#include <utility>

#include "base/error.hpp"
#include "base/quote.hpp"
#include "io/json_text.hpp"

namespace collie {

namespace {

static_assert(std::endian::native == std::endian::little, "safetensors files are little-endian");

constexpr uint64_t length_bytes = 8;
constexpr uint64_t longest_header = 100'000'000;  // the reference reader's limit

constexpr std::array<std::pair<std::string_view, int>, 22> dtype_bits = {{
    {"BOOL", 8},        {"U8", 8},          {"I8", 8},    {"F8_E5M2", 8}, {"F8_E4M3", 8}, {"F8_E8M0", 8},
    {"F8_E4M3FNUZ", 8}, {"F8_E5M2FNUZ", 8}, {"F4", 4},    {"F6_E2M3", 6}, {"F6_E3M2", 6}, {"I16", 16},
    {"U16", 16},        {"F16", 16},        {"BF16", 16}, {"I32", 32},    {"U32", 32},    {"F32", 32},
    {"C64", 64},        {"F64", 64},        {"I64", 64},  {"U64", 64},
}};

float float_from_half(uint16_t half) {
  const uint32_t sign = uint32_t{half & 0x8000u} << 16;
  const uint32_t exponent = (half >> 10) & 0x1fu;
  const uint32_t fraction = half & 0x3ffu;
  if (exponent == 0) {  // zero, or subnormal: fraction * 2^-24 is exact in a float
    const float magnitude = static_cast<float>(fraction) * 0x1.0p-24f;
    return sign ? -magnitude : magnitude;
  }
  const uint32_t wide_exponent = exponent == 0x1f ? 0xffu : exponent + (127 - 15);
  return std::bit_cast<float>(sign | (wide_exponent << 23) | (fraction << 13));
}

template <class Stored, class Convert>
void convert_all(std::span<const std::byte> bytes, std::span<float> values, Convert convert) {
  for (size_t i = 0; i < values.size(); ++i) {
    Stored stored;
    std::memcpy(&stored, bytes.data() + i * sizeof(Stored), sizeof(Stored));
    values[i] = convert(stored);
  }
}

// Reads the header of one file, entry by entry. Every message names the file and the tensor.
class HeaderReader {
 public:
  HeaderReader(const std::string& file, std::span<const std::byte> file_bytes)
      : file_(file), bytes_(file_bytes) {}

  void read() {
    const std::string_view text = find_header();
    const nlohmann::json header = parse(text);
    for (const auto& [name, description] : header.items()) {
      if (name == "__metadata__")
        read_metadata(description);
      else
        read_tensor(name, description);
    }
    check_cover();
  }

  std::vector<SafetensorsEntry> tensors;
  std::map<std::string, std::string> metadata;

 private:
  template <class... Arguments>
  [[noreturn]] void refuse(fmt::format_string<Arguments...> format, Arguments&&... arguments) const {
    throw UserError("{}: not a valid safetensors file: {}", file_,
                    fmt::format(format, std::forward<Arguments>(arguments)...));
  }

  std::string_view find_header() {
    if (bytes_.size() < length_bytes)
      refuse("it has {} bytes, and the format starts with an 8-byte header length", bytes_.size());
    uint64_t length = 0;
    std::memcpy(&length, bytes_.data(), length_bytes);
    if (length > longest_header)
      refuse("its header length is {}, and the format allows at most {} bytes", length, longest_header);
    if (length > bytes_.size() - length_bytes)
      refuse("its header length is {}, but only {} bytes follow (is the file truncated?)", length,
             bytes_.size() - length_bytes);
    data_ = bytes_.subspan(length_bytes + length);
    return {reinterpret_cast<const char*>(bytes_.data()) + length_bytes, length};
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
    SafetensorsEntry entry;
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

  void read_dtype(SafetensorsEntry& entry, const nlohmann::json& description) const {
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

  void read_shape(SafetensorsEntry& entry, const nlohmann::json& description) const {
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

  void read_offsets(SafetensorsEntry& entry, const nlohmann::json& description) {
    const auto& offsets = member(entry.name, description, "data_offsets");
    if (!offsets.is_array() || offsets.size() != 2 || !offsets[0].is_number_unsigned() ||
        !offsets[1].is_number_unsigned())
      refuse("tensor '{}': data_offsets is {}; it must be [begin, end]", shortened(entry.name),
             in_short(offsets));
    const auto begin = offsets[0].get<uint64_t>();
    const auto end = offsets[1].get<uint64_t>();
    if (begin > end || end > data_.size())
      refuse("tensor '{}': data_offsets [{}, {}] do not lie within the {} bytes after the header{}",
             shortened(entry.name), begin, end, data_.size(),
             begin <= end ? " (is the file truncated?)" : "");
    int64_t bits = 0;
    if (__builtin_mul_overflow(entry.elements, int64_t{entry.element_bits}, &bits) || bits % 8 != 0 ||
        static_cast<uint64_t>(bits / 8) != end - begin)
      refuse("tensor '{}': data_offsets [{}, {}] hold {} bytes, but shape {} of {} needs {} bits",
             shortened(entry.name), begin, end, end - begin,
             in_short(member(entry.name, description, "shape")), entry.dtype,
             bits > 0 ? std::to_string(bits) : "too many");
    entry.bytes = data_.subspan(begin, end - begin);
  }

  // The format allows no overlaps, no holes and nothing after the last tensor.
  void check_cover() {
    std::sort(tensors.begin(), tensors.end(), [](const SafetensorsEntry& a, const SafetensorsEntry& b) {
      return std::tuple(a.bytes.data(), a.bytes.size(), std::string_view(a.name)) <
             std::tuple(b.bytes.data(), b.bytes.size(), std::string_view(b.name));
    });
    size_t covered = 0;
    for (const auto& tensor : tensors) {
      const auto begin = static_cast<size_t>(tensor.bytes.data() - data_.data());
      if (begin != covered)
        refuse("tensor '{}' starts at byte {} of the data, but the tensors before it end at {}: {}",
               shortened(tensor.name), begin, covered,
               begin < covered ? "they overlap" : "the format allows no hole");
      covered += tensor.bytes.size();
    }
    if (covered != data_.size())
      refuse("the tensors end at byte {} of the data, and {} bytes follow; the format allows none", covered,
             data_.size() - covered);
  }

  const std::string& file_;
  std::span<const std::byte> bytes_, data_;
};

}  // namespace

std::optional<int> safetensors_element_bits(std::string_view dtype) {
  for (const auto& [name, bits] : dtype_bits)
    if (name == dtype) return bits;
  return std::nullopt;
}

SafetensorsFile::SafetensorsFile(const std::filesystem::path& file) : map_(file) {
  read_header();
}

void SafetensorsFile::read_header() {
  const std::string file = path().string();
  HeaderReader reader(file, map_.bytes());
  reader.read();
  tensors_ = std::move(reader.tensors);
  metadata_ = std::move(reader.metadata);
  for (size_t i = 0; i < tensors_.size(); ++i) index_.emplace(tensors_[i].name, i);
}

const SafetensorsEntry& SafetensorsFile::find(const std::string& name) const {
  const auto found = index_.find(name);
  if (found == index_.end())
    throw UserError("{}: it has no tensor '{}' among its {}", path().string(), shortened(name),
                    tensors_.size());
  return tensors_[found->second];
}

void SafetensorsFile::to_float(const std::string& name, std::span<float> values) const {
  const SafetensorsEntry& entry = find(name);
  COLLIE_ASSERT(static_cast<int64_t>(values.size()) == entry.elements,
                "{}: {} values for the {} elements of '{}'", path().string(), values.size(), entry.elements,
                name);
  to_float(name, 0, values);
}

void SafetensorsFile::to_float(const std::string& name, int64_t begin, std::span<float> values) const {
  const SafetensorsEntry& entry = find(name);
  const auto count = static_cast<int64_t>(values.size());
  COLLIE_ASSERT(begin >= 0 && begin + count <= entry.elements, "{}: elements [{}, {}) of the {} of '{}'",
                path().string(), begin, begin + count, entry.elements, name);
  // The types below are whole bytes; other types are not read.
  const size_t width = static_cast<size_t>(entry.element_bits) / 8;
  const std::span bytes = entry.bytes.subspan(static_cast<size_t>(begin) * width, values.size() * width);
  if (entry.dtype == "F32") {
    if (!values.empty()) std::memcpy(values.data(), bytes.data(), bytes.size());
  } else if (entry.dtype == "BF16") {
    convert_all<uint16_t>(bytes, values,
                          [](uint16_t bits) { return std::bit_cast<float>(uint32_t{bits} << 16); });
  } else if (entry.dtype == "F16") {
    convert_all<uint16_t>(bytes, values, float_from_half);
  } else if (entry.dtype == "F64") {
    convert_all<double>(bytes, values, [](double value) { return static_cast<float>(value); });
  } else {
    throw UserError("{}: tensor '{}' has dtype {}; as real numbers only F32, BF16, F16 and F64 can be read",
                    path().string(), shortened(name), entry.dtype);
  }
}

}  // namespace collie
