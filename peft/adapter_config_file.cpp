#include "peft/adapter_config_file.hpp"

#include <algorithm>
#include <filesystem>

#include "base/error.hpp"
#include "base/quote.hpp"
#include "io/files.hpp"
#include "io/json_text.hpp"
#include "io/tokenizers/text_pattern.hpp"
#include "io/weight_folder.hpp"
#include "peft/adapter_config.hpp"
#include "peft/adapter_folder.hpp"
#include "peft/ptuning_v2.hpp"

namespace collie {

using nlohmann::json;

namespace {

bool is_switched_off(const json& value) {
  return value.is_null() || value == false || (value.is_structured() && value.empty());
}

// Modules of the folder, by the names that the model has for them, and the tensors of each.
std::map<std::string, std::set<std::string>> modules_in(const WeightFolder& weights) {
  std::map<std::string, std::set<std::string>> modules;
  for (const auto& [tensor, place] : weights.tensors()) {
    std::string name = tensor.starts_with(adapter_name_prefix)
                           ? tensor.substr(std::string(adapter_name_prefix).size())
                           : tensor;
    const size_t dot = name.rfind('.');
    if (dot == std::string::npos) continue;  // no module's; AdapterFolder::check() refuses it
    std::string part = name.substr(dot + 1);
    name.resize(dot);
    for (const char* of_adapter : {".lora_A", ".lora_B"})
      if (name.ends_with(of_adapter)) {
        part = of_adapter;
        name.resize(name.size() - part.size());
      }
    if (part.rfind('.', 0) != 0) part.insert(0, ".");
    if (name.ends_with(adapter_base_layer)) name.resize(name.size() - std::string(adapter_base_layer).size());
    modules[name].insert(part);
  }
  return modules;
}

std::string config_file_of(const std::string& folder) {
  const char* const name = is_ptuning_v2_folder(folder) ? "config.json" : adapter_config_name;
  return (std::filesystem::path(folder) / name).string();
}

nlohmann::ordered_json adapter_config_in(const std::string& folder) {
  if (is_ptuning_v2_folder(folder)) return ptuning_v2_adapter_config(folder);
  const std::string file = config_file_of(folder);
  return parse_ordered_json(read_text_file(file), file);
}

}  // namespace

AdapterConfigFile::AdapterConfigFile(const std::string& folder)
    : file_(config_file_of(folder)),
      ordered_(adapter_config_in(folder)),
      object_(parse_json_object(ordered_.dump(), file_)),
      modules_(modules_in(WeightFolder(folder, adapter_weight_files(folder)))) {}

void AdapterConfigFile::refuse(const std::string& key, const json& found, const std::string& wanted) const {
  throw UserError("{}: {}: found {}; {} is wanted", file_, key, in_short(found), wanted);
}

void AdapterConfigFile::check_keys(const std::set<std::string>& known) const {
  for (const auto& [key, value] : object_.items())
    if (known.count(key) == 0 && !is_switched_off(value))
      throw UserError("{}: {}: {} is not supported; only an adapter without it is", file_, shortened(key),
                      in_short(value));
}

const json* AdapterConfigFile::find(const std::string& key) const {
  const auto found = object_.find(key);
  return found == object_.end() || found->is_null() ? nullptr : &*found;
}

int64_t AdapterConfigFile::whole(const std::string& key, int64_t otherwise) const {
  const json* const value = find(key);
  if (value == nullptr) return otherwise;
  if (!value->is_number_integer() || *value < 1 || *value > 65536)
    refuse(key, *value, "a whole number from 1 to 65536");
  return value->get<int64_t>();
}

double AdapterConfigFile::number(const std::string& key, double otherwise, const NumberRange& range) const {
  const json* const value = find(key);
  if (value == nullptr) return otherwise;
  if (!value->is_number() || !range.holds(value->get<double>()))
    refuse(key, *value, "a number" + range.words());
  return value->get<double>();
}

bool AdapterConfigFile::flag(const std::string& key) const {
  const json* const value = find(key);
  if (value == nullptr) return false;
  if (!value->is_boolean()) refuse(key, *value, "true or false");
  return value->get<bool>();
}

std::string AdapterConfigFile::text(const std::string& key, const std::set<std::string>& valid,
                                    const std::string& otherwise) const {
  const json* const value = find(key);
  if (value == nullptr) return otherwise;
  if (!value->is_string() || valid.count(value->get<std::string>()) == 0)
    refuse(key, *value, fmt::format("one of {}", fmt::join(valid, ", ")));
  return value->get<std::string>();
}

const json& AdapterConfigFile::list(const json& value, const std::string& key) const {
  if (!value.is_array()) refuse(key, value, "a list of names");
  for (const json& item : value)
    if (!item.is_string()) refuse(key, item, "a name");
  return value;
}

void AdapterConfigFile::read_patterns(const std::string& key, bool whole, PatternNumbers& patterns) const {
  const json* const map = find(key);
  if (map == nullptr) return;
  if (!map->is_object()) refuse(key, *map, "an object of expressions and numbers");
  const NumberRange range = whole ? NumberRange::from_to(1, 65536) : NumberRange{0, 1e6, true};
  for (const auto& [pattern, value] : ordered_.at(key).items()) {
    const bool right =
        value.is_number() && range.holds(value.get<double>()) && (!whole || value.is_number_integer());
    if (!right)
      refuse(key + "." + shortened(pattern), json(value),
             (whole ? "a whole number" : "a number") + range.words());
    patterns.items.emplace_back(pattern, value.get<double>());
  }
}

void AdapterConfigFile::read_blocks(PeftSection& peft) const {
  const json* const layers = find("layers_to_transform");
  if (layers == nullptr) return;
  peft.layers_to_transform = layers->is_array() ? *layers : json::array({*layers});
  for (const json& layer : peft.layers_to_transform)
    if (!layer.is_number_integer() || layer < 0)
      refuse("layers_to_transform", layer, "the number of a block");
}

std::vector<std::string> AdapterConfigFile::read_modules(const std::string& key, const char* part) const {
  std::vector<std::string> modules;
  const json* const given = find(key);
  if (given == nullptr || !given->is_string()) {
    if (given != nullptr)
      for (const json& name : list(*given, key)) modules.push_back(name.get<std::string>());
    std::sort(modules.begin(), modules.end());
    return modules;
  }
  if (*given == "all-linear") return {"all-linear"};
  const std::string pattern = "^(?:" + given->get<std::string>() + ")$";
  const auto expression = regular_expression(pattern, JsonPlace(*given, file_, key));
  for (const auto& [name, parts] : modules_) {
    std::vector<PatternPart> found;
    expression->find(name, found);
    const bool matches =
        std::any_of(found.begin(), found.end(), [](const PatternPart& each) { return each.matches; });
    if (matches && parts.count(part) > 0) modules.push_back(name);
  }
  if (modules.empty()) refuse(key, *given, "an expression that matches a module of the adapter's tensors");
  return modules;
}

void AdapterConfigFile::read_saved(const char* part, PeftSection& peft) const {
  const json* const saved = find("modules_to_save");
  if (saved == nullptr) return;
  for (const json& ending : list(*saved, "modules_to_save")) {
    const size_t before = peft.modules_to_save.size();
    for (const auto& [name, parts] : modules_)
      if (parts.count(part) == 0 && name.ends_with(ending.get<std::string>()))
        peft.modules_to_save.push_back(name);
    if (peft.modules_to_save.size() == before)
      refuse("modules_to_save", ending, "a module of which the adapter has tensors");
  }
}

}  // namespace collie
