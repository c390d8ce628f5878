#include "plan/stored_quantisation.hpp"

#include <string_view>

#include "base/error.hpp"
#include "io/json_text.hpp"
#include "models/stored_codes.hpp"

namespace collie {

using nlohmann::json;

namespace {

constexpr const char* section_key = "quantization_config";

class StoredSection {
 public:
  StoredSection(const ModelKeys& keys) : values_(keys.object.at(section_key)), where_(keys.where) {}

  bool is_of_bitsandbytes() const {
    return values_.is_object() && values_.value("quant_method", json()) == "bitsandbytes";
  }

  QuantizationSection read(const QuantizationSection& given) const {
    QuantizationSection found = given;
    const bool short_codes = is_on("load_in_4bit"), rows = is_on("load_in_8bit");
    if (short_codes == rows) refuse("load_in_4bit", "true there or in load_in_8bit");
    found.kind = rows ? "int8" : text("bnb_4bit_quant_type", "fp4");
    if (found.kind != "int8" && found.kind != "nf4" && found.kind != "fp4")
      refuse("bnb_4bit_quant_type", "nf4 or fp4");
    if (short_codes) found.double_quant = is_on("bnb_4bit_use_double_quant");
    if (short_codes && text("bnb_4bit_quant_storage", "uint8") != "uint8")
      refuse("bnb_4bit_quant_storage", "uint8");
    if (is_on("llm_int8_has_fp16_weight")) refuse("llm_int8_has_fp16_weight", "false");
    return found;
  }

 private:
  bool is_on(const char* key) const { return values_.value(key, json()) == true; }
  std::string text(const char* key, const char* otherwise) const {
    const json value = values_.value(key, json());
    if (value.is_null()) return otherwise;
    return value.is_string() ? value.get<std::string>() : value.dump();
  }
  [[noreturn]] void refuse(const char* key, const char* right) const {
    throw UserError("{}: {}.{}: found {}; {} is wanted", where_, section_key, key,
                    in_short(values_.value(key, json())), right);
  }

  const json& values_;
  std::string where_;
};

void check_alike(const Config& config, const ModelKeys& keys, const QuantizationSection& found) {
  const QuantizationSection& given = config.quantization;
  const auto refuse = [&](const char* key, const std::string& is, const std::string& right) {
    const std::string path = std::string("quantization.") + key;
    if (config.file.places.count(path) == 0) return;
    throw UserError(
        "{}: found {}, but the model is stored quantised, with {} ({}: {}); that is right, or to leave "
        "the key out",
        config.file.place(path), is, right, keys.where, section_key);
  };
  if (given.kind != found.kind) refuse("kind", given.kind, found.kind);
  if (given.double_quant != found.double_quant)
    refuse("double_quant", given.double_quant ? "true" : "false", found.double_quant ? "true" : "false");
}

// The matrices of the folder that are numbers. llm_int8_skip_modules has patterns, which transformers reads
// in more than one way; the tensors say what became of them.
std::vector<std::string> matrices_in_numbers(const std::string& path) {
  constexpr std::string_view weight = ".weight";
  std::vector<std::string> names;
  if (!WeightFolder::is_there(path)) return names;
  const WeightFolder folder(path);
  for (const auto& [name, place] : folder.tensors())
    if (name.ends_with(weight) && place.tensor->shape.size() == 2 && !stored_quantisation(folder, name))
      names.push_back(name.substr(0, name.size() - weight.size()));
  return names;
}

}  // namespace

void use_stored_quantisation(Config& config, ModelKeys& keys) {
  if (!keys.object.contains(section_key) || config.model.config.contains(section_key)) return;
  const StoredSection stored(keys);
  if (!stored.is_of_bitsandbytes()) return;
  QuantizationSection found = stored.read(config.quantization);
  check_alike(config, keys, found);
  if (config.file.places.count("quantization.skip") == 0) found.skip = matrices_in_numbers(config.model.path);
  config.quantization = found;
  keys.object.erase(section_key);
}

}  // namespace collie
