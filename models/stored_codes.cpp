#include "models/stored_codes.hpp"

#include <algorithm>
#include <span>

#include "base/error.hpp"
#include "io/json_text.hpp"
#include "kernels/dynamic_map.hpp"

namespace collie {
namespace {

// The tensors behind one of the model's. Its name there may lack its first part.
class StoredCodes {
 public:
  StoredCodes(const WeightFolder& folder, const std::string& tensor) : folder_(folder) {
    name_ = folder.contains(tensor) ? tensor : tensor.substr(tensor.find('.') + 1);
    for (const char* kind : {"nf4", "fp4"})
      if (folder.contains(state_name(kind))) kind_ = kind;
    if (!kind_.empty()) state_ = read_state();
  }

  bool is_in_blocks() const { return !kind_.empty(); }
  // A module's bias is not quantised.
  bool is_int8() const {
    return kind_.empty() && name_.ends_with(".weight") && folder_.contains(scales_of_rows());
  }

  Quantisation quantisation() const {
    if (is_int8()) return {QuantisedKind::int8, false, Quantisation().block_size};
    Quantisation found{kind_ == "nf4" ? QuantisedKind::nf4 : QuantisedKind::fp4,
                       state_.contains("nested_offset"), whole_number("blocksize")};
    if (found.block_size < 2 || found.block_size > 4096 || found.block_size % 2 != 0)
      refuse(state_name(kind_), fmt::format("has blocks of {}", found.block_size),
             "an even number up to 4096");
    if (found.double_quant && whole_number("nested_blocksize") != nested_block)
      refuse(state_name(kind_), fmt::format("has nested blocks of {}", whole_number("nested_blocksize")),
             "256");
    return found;
  }

  std::vector<std::string> names() const {
    if (!is_in_blocks()) return {name_, scales_of_rows(), module() + ".weight_format"};
    std::vector<std::string> all{name_, name_ + ".absmax", name_ + ".quant_map", state_name(kind_)};
    if (state_.contains("nested_offset"))
      for (const char* part : {".nested_absmax", ".nested_quant_map"}) all.push_back(name_ + part);
    return all;
  }

  void check(int64_t rows, int64_t columns) const {
    const Quantisation found = quantisation();
    const int64_t elements = rows * columns, scales = scale_count(found, rows, columns);
    if (!is_in_blocks()) {
      has(name_, "I8", elements);
      has(scales_of_rows(), "F32", rows);
      return;
    }
    if (const nlohmann::json shape{rows, columns}; state_.value("shape", nlohmann::json()) != shape)
      refuse(state_name(kind_), "has the shape " + in_short(state_.value("shape", nlohmann::json())),
             in_short(shape));
    has(name_, "U8", QuantisedMatrix::code_bytes(found, elements));
    has(name_ + ".absmax", found.double_quant ? "U8" : "F32", scales);
    has_numbers(name_ + ".quant_map", values_of_codes(found.kind));
    if (!found.double_quant) return;
    has(name_ + ".nested_absmax", "F32", nested_count(found, rows, columns));
    has_numbers(name_ + ".nested_quant_map", dynamic_map(true).values);
  }

  WholeQuantised read(int64_t rows, int64_t columns) const {
    check(rows, columns);
    WholeQuantised whole{quantisation(), rows, columns, bytes<uint8_t>(name_), {}, {}, {}, 0};
    if (!is_in_blocks()) {
      whole.scales = bytes<float>(scales_of_rows());
    } else if (!whole.quantisation.double_quant) {
      whole.scales = bytes<float>(name_ + ".absmax");
    } else {
      whole.scale_codes = bytes<uint8_t>(name_ + ".absmax");
      whole.nested_scales = bytes<float>(name_ + ".nested_absmax");
      whole.offset = number("nested_offset");
    }
    return whole;
  }

 private:
  std::string module() const { return name_.substr(0, name_.rfind('.')); }
  std::string scales_of_rows() const { return module() + ".SCB"; }
  std::string state_name(const std::string& kind) const {
    return name_ + ".quant_state.bitsandbytes__" + kind;
  }

  [[noreturn]] void refuse(const std::string& tensor, const std::string& found,
                           const std::string& right) const {
    throw UserError("{}: {} {}; {} is right", folder_.path().string(), tensor, found, right);
  }

  template <class T>
  std::vector<T> bytes(const std::string& tensor) const {
    const WeightFolder::Place& place = folder_.find(tensor);
    const std::vector<std::byte> raw = TensorReader(*place.file, *place.tensor).bytes();
    std::vector<T> values(raw.size() / sizeof(T));
    std::copy_n(raw.begin(), values.size() * sizeof(T), std::as_writable_bytes(std::span(values)).begin());
    return values;
  }

  nlohmann::json read_state() const {
    constexpr int64_t longest = 1 << 16;  // bytes
    const std::string tensor = state_name(kind_);
    if (const StoredTensor& stored = *folder_.find(tensor).tensor;
        stored.dtype != "U8" || stored.elements > longest)
      refuse(tensor, fmt::format("is {} of {}", stored.elements, stored.dtype), "a JSON text in U8");
    const std::vector<char> text = bytes<char>(tensor);
    return parse_json_object(std::string(text.begin(), text.end()), folder_.path().string() + ": " + tensor);
  }

  int64_t whole_number(const char* key) const {
    const nlohmann::json value = state_.value(key, nlohmann::json());
    if (!value.is_number_integer())
      refuse(state_name(kind_), fmt::format("has {} as {}", in_short(value), key), "a whole number");
    return value.get<int64_t>();
  }
  float number(const char* key) const {
    const nlohmann::json value = state_.value(key, nlohmann::json());
    if (!value.is_number())
      refuse(state_name(kind_), fmt::format("has {} as {}", in_short(value), key), "a number");
    return value.get<float>();
  }

  void has(const std::string& tensor, const std::string& dtype, int64_t elements) const {
    const StoredTensor& stored = *folder_.find(tensor).tensor;
    if (stored.dtype != dtype || stored.elements != elements)
      refuse(tensor, fmt::format("has {} elements of {}", stored.elements, stored.dtype),
             fmt::format("{} of {}", elements, dtype));
  }

  template <class Map>
  void has_numbers(const std::string& tensor, const Map& map) const {
    has(tensor, "F32", static_cast<int64_t>(map.size()));
    if (!std::ranges::equal(bytes<float>(tensor), map))
      refuse(tensor, "has other numbers than bitsandbytes' codes stand for",
             "another file, or base in floats");
  }

  const WeightFolder& folder_;
  std::string name_, kind_;  // "nf4", "fp4"; empty: no blocks
  nlohmann::json state_;
};

}  // namespace

std::string in_words(const Quantisation& quantisation) {
  if (!quantisation.is_in_blocks()) return std::string(name(quantisation.kind));
  return fmt::format("{} in blocks of {}, {} double quantisation", name(quantisation.kind),
                     quantisation.block_size, quantisation.double_quant ? "with" : "without");
}

std::optional<Quantisation> stored_quantisation(const WeightFolder& folder, const std::string& tensor) {
  const StoredCodes stored(folder, tensor);
  if (!stored.is_in_blocks() && !stored.is_int8()) return {};
  return stored.quantisation();
}

std::vector<std::string> stored_code_tensors(const WeightFolder& folder, const std::string& tensor) {
  return StoredCodes(folder, tensor).names();
}

void check_stored_codes(const WeightFolder& folder, const std::string& tensor, int64_t rows,
                        int64_t columns) {
  StoredCodes(folder, tensor).check(rows, columns);
}

WholeQuantised read_stored_codes(const WeightFolder& folder, const std::string& tensor, int64_t rows,
                                 int64_t columns) {
  return StoredCodes(folder, tensor).read(rows, columns);
}

}  // namespace collie
