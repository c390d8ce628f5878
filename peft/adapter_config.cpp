#include "peft/adapter_config.hpp"

#include <algorithm>
#include <filesystem>
#include <map>
#include <set>

#include "base/error.hpp"
#include "base/option.hpp"
#include "base/quote.hpp"
#include "io/files.hpp"
#include "io/json_text.hpp"
#include "io/tokenizers/text_pattern.hpp"
#include "io/weight_folder.hpp"
#include "models/pieces.hpp"
#include "models/stage_model.hpp"
#include "peft/adapter_folder.hpp"
#include "peft/prompt_config.hpp"

namespace collie {

namespace fs = std::filesystem;
using nlohmann::json;

namespace {

// Keys that say nothing about what the adapter computes, or that the engine reads.
const std::set<std::string>& known_keys() {
  static const std::set<std::string> keys = {"alpha_pattern",
                                             "auto_mapping",
                                             "base_model_name_or_path",
                                             "bias",
                                             "fan_in_fan_out",
                                             "inference_mode",
                                             "init_lora_weights",
                                             "layers_to_transform",
                                             "loftq_config",
                                             "lora_alpha",
                                             "lora_dropout",
                                             "megatron_core",
                                             "modules_to_save",
                                             "peft_type",
                                             "peft_version",
                                             "qalora_group_size",
                                             "r",
                                             "rank_pattern",
                                             "revision",
                                             "runtime_config",
                                             "target_modules",
                                             "task_type",
                                             "use_rslora"};
  return keys;
}

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
    if (name.ends_with(adapter_base_layer)) name.resize(name.size() - std::string(adapter_base_layer).size());
    modules[name].insert(part);
  }
  return modules;
}

class AdapterConfigReader {
 public:
  explicit AdapterConfigReader(const std::string& folder)
      : file_((fs::path(folder) / adapter_config_name).string()),
        ordered_(parse_ordered_json(read_text_file(file_), file_)),
        object_(parse_json_object(ordered_.dump(), file_)),
        modules_(modules_in(WeightFolder(folder, adapter_weight_files()))) {}

  PeftSection read() const {
    check_kind();
    PeftSection peft;
    peft.type = "lora";
    peft.r = whole("r", peft.r);
    peft.lora_alpha = number("lora_alpha", peft.lora_alpha, NumberRange::from_to(1e-300, 1e6));
    peft.lora_dropout = number("lora_dropout", peft.lora_dropout, NumberRange::from_to_below(0, 1));
    peft.use_rslora = flag("use_rslora");
    peft.bias = text("bias", {"none", "all", "lora_only"}, "none");
    read_start(peft);
    read_patterns("rank_pattern", true, peft.rank_pattern);
    read_patterns("alpha_pattern", false, peft.alpha_pattern);
    read_layers(peft);
    read_targets(peft);
    if (const json* const saved = find("modules_to_save"))
      for (const json& ending : list(*saved, "modules_to_save")) read_saved(ending.get<std::string>(), peft);
    return peft;
  }

 private:
  [[noreturn]] void refuse(const std::string& key, const json& found, const std::string& wanted) const {
    throw UserError("{}: {}: found {}; {} is wanted", file_, key, in_short(found), wanted);
  }
  const json* find(const std::string& key) const {
    const auto found = object_.find(key);
    return found == object_.end() || found->is_null() ? nullptr : &*found;
  }

  void check_kind() const {
    const json* const kind = find("peft_type");
    if (kind == nullptr || *kind != "LORA")
      refuse("peft_type", kind != nullptr ? *kind : json(),
             "\"LORA\", \"PROMPT_TUNING\" or \"PREFIX_TUNING\", which alone are supported yet,");
    for (const auto& [key, value] : object_.items())
      if (known_keys().count(key) == 0 && !is_switched_off(value))
        throw UserError("{}: {}: {} is not supported; only an adapter without it is", file_, shortened(key),
                        in_short(value));
  }

  int64_t whole(const std::string& key, int64_t otherwise) const {
    const json* const value = find(key);
    if (value == nullptr) return otherwise;
    if (!value->is_number_integer() || *value < 1 || *value > 65536)
      refuse(key, *value, "a whole number from 1 to 65536");
    return value->get<int64_t>();
  }
  double number(const std::string& key, double otherwise, const NumberRange& range) const {
    const json* const value = find(key);
    if (value == nullptr) return otherwise;
    if (!value->is_number() || !range.holds(value->get<double>()))
      refuse(key, *value, "a number" + range.words());
    return value->get<double>();
  }
  // In the order of the file, of which the first that matches counts.
  void read_patterns(const std::string& key, bool whole, PatternNumbers& patterns) const {
    const json* const map = find(key);
    if (map == nullptr) return;
    if (!map->is_object()) refuse(key, *map, "an object of expressions and numbers");
    const NumberRange range = whole ? NumberRange::from_to(1, 65536) : NumberRange::from_to(1e-300, 1e6);
    for (const auto& [pattern, value] : ordered_.at(key).items()) {
      const bool right =
          value.is_number() && range.holds(value.get<double>()) && (!whole || value.is_number_integer());
      if (!right)
        refuse(key + "." + shortened(pattern), json(value),
               (whole ? "a whole number" : "a number") + range.words());
      patterns.items.emplace_back(pattern, value.get<double>());
    }
  }
  bool flag(const std::string& key) const {
    const json* const value = find(key);
    if (value == nullptr) return false;
    if (!value->is_boolean()) refuse(key, *value, "true or false");
    return value->get<bool>();
  }
  std::string text(const std::string& key, const std::set<std::string>& valid,
                   const std::string& otherwise) const {
    const json* const value = find(key);
    if (value == nullptr) return otherwise;
    if (!value->is_string() || valid.count(value->get<std::string>()) == 0)
      refuse(key, *value, fmt::format("one of {}", fmt::join(valid, ", ")));
    return value->get<std::string>();
  }
  const json& list(const json& value, const std::string& key) const {
    if (!value.is_array()) refuse(key, value, "a list of names");
    for (const json& item : value)
      if (!item.is_string()) refuse(key, item, "a name");
    return value;
  }

  void read_start(PeftSection& peft) const {
    const json* const start = find("init_lora_weights");
    if (start == nullptr || *start == true) return;
    if (*start != false && *start != "gaussian")
      refuse("init_lora_weights", *start,
             "true, false or \"gaussian\" (others change the model's weights, and are not supported yet)");
    peft.init_lora_weights = *start == false ? "false" : "gaussian";
  }

  void read_layers(PeftSection& peft) const {
    const json* const layers = find("layers_to_transform");
    if (layers == nullptr) return;
    peft.layers_to_transform = layers->is_array() ? *layers : json::array({*layers});
    for (const json& layer : peft.layers_to_transform)
      if (!layer.is_number_integer() || layer < 0)
        refuse("layers_to_transform", layer, "the number of a block");
  }

  // A regular expression matches whole names.
  void read_targets(PeftSection& peft) const {
    const json* const targets = find("target_modules");
    if (targets == nullptr || !targets->is_string()) {
      if (targets != nullptr)
        for (const json& name : list(*targets, "target_modules"))
          peft.target_modules.push_back(name.get<std::string>());
      std::sort(peft.target_modules.begin(), peft.target_modules.end());
      return;
    }
    if (*targets == "all-linear") return peft.target_modules.emplace_back("all-linear"), void();
    const std::string pattern = "^(?:" + targets->get<std::string>() + ")$";
    const auto expression = regular_expression(pattern, JsonPlace(*targets, file_, "target_modules"));
    for (const auto& [name, parts] : modules_) {
      std::vector<PatternPart> found;
      expression->find(name, found);
      const bool matches =
          std::any_of(found.begin(), found.end(), [](const PatternPart& part) { return part.matches; });
      if (matches && parts.count(".lora_A") > 0) peft.target_modules.push_back(name);
    }
    if (peft.target_modules.empty())
      refuse("target_modules", *targets, "an expression that matches a module of the adapter's tensors");
  }

  // peft takes each module whose name ends so, also within a word.
  void read_saved(const std::string& ending, PeftSection& peft) const {
    const size_t before = peft.modules_to_save.size();
    for (const auto& [name, parts] : modules_)
      if (parts.count(".lora_A") == 0 && name.ends_with(ending)) peft.modules_to_save.push_back(name);
    if (peft.modules_to_save.size() == before)
      refuse("modules_to_save", ending, "a module of which the adapter has tensors");
  }

  std::string file_;
  nlohmann::ordered_json ordered_;
  json object_;
  std::map<std::string, std::set<std::string>> modules_;
};

// Whether any tensor of the matrices with adapters is stored [in, out], as GPT-2's are.
bool has_transposed(const ModelSpec& model) {
  for (const NamedTensor& tensor : tensors_of(model_parameters(model.base())))
    if (tensor.transposed && model.adapters.count(tensor.name.substr(0, tensor.name.rfind('.'))) > 0)
      return true;
  return false;
}

}  // namespace

PeftSection read_adapter_config(const std::string& folder) {
  const std::string file = (fs::path(folder) / adapter_config_name).string();
  const json object = parse_json_object(read_text_file(file), file);
  if (is_prompt_peft_type(object.value("peft_type", json()))) return read_prompt_config(object, file);
  return AdapterConfigReader(folder).read();
}

void complete_adapter_config(Config& config) {
  if (!config.peft.path.empty()) complete_adapter_config(config, read_adapter_config(config.peft.path));
}

void complete_adapter_config(Config& config, PeftSection found) {
  const std::string path = config.peft.path;
  found.path = path;
  found.loraplus_lr_ratio = config.peft.loraplus_lr_ratio;
  Config of_folder = config;
  of_folder.peft = found;
  for (const auto& [key, place] : config.file.places) {
    if (!key.starts_with("peft.") || key == "peft.type") continue;
    const std::string given = value_of_key(config, key), of_file = value_of_key(of_folder, key);
    if (given != of_file)
      throw UserError("{}: found {}, but the adapter in peft.path, '{}', has {}; leave it out", place,
                      shortened(given), path, shortened(of_file));
  }
  config.peft = std::move(found);
}

nlohmann::ordered_json adapter_config_of(const Config& config, const ModelSpec& model) {
  const PeftSection& peft = config.peft;
  if (model.prompt.exists()) return prompt_config_of(config, model);
  std::set<std::string> targets, saved;
  for (const auto& [name, adapters] : model.adapters) targets.insert(name);
  for (const NamedTensor& tensor : adapter_tensors(model)) {
    const std::string module = tensor.name.substr(0, tensor.name.rfind('.'));
    if (tensor.name.ends_with(".weight") && !module.ends_with(".lora_A") && !module.ends_with(".lora_B"))
      saved.insert(module);
  }
  const bool by_name =
      std::none_of(peft.target_modules.begin(), peft.target_modules.end(), [](const std::string& name) {
        return name == "all-linear" || name.find_first_of("*?[") != std::string::npos;
      });
  nlohmann::ordered_json object{
      {"peft_type", "LORA"},
      {"task_type", "CAUSAL_LM"},
      {"base_model_name_or_path", fs::absolute(config.model.path).lexically_normal().string()},
      {"inference_mode", true},
      {"r", peft.r},
      {"lora_alpha", peft.lora_alpha},
      {"lora_dropout", peft.lora_dropout},
      {"bias", peft.bias},
      {"use_rslora", peft.use_rslora},
      {"use_dora", false},
      {"fan_in_fan_out", has_transposed(model)},
      {"init_lora_weights", true},
      {"modules_to_save", saved.empty() ? nlohmann::ordered_json() : nlohmann::ordered_json(saved)}};
  object["rank_pattern"] = object["alpha_pattern"] = nlohmann::ordered_json::object();
  for (const auto& [pattern, rank] : peft.rank_pattern.items)
    object["rank_pattern"][pattern] = static_cast<int64_t>(rank);
  for (const auto& [pattern, alpha] : peft.alpha_pattern.items) object["alpha_pattern"][pattern] = alpha;
  // Names that mean the same to peft are kept as they were given; else each module is named.
  const bool keep = by_name && !peft.target_modules.empty();
  object["target_modules"] =
      keep ? nlohmann::ordered_json(peft.target_modules) : nlohmann::ordered_json(targets);
  if (keep && !peft.layers_to_transform.empty()) object["layers_to_transform"] = peft.layers_to_transform;
  if (peft.init_lora_weights == "gaussian") object["init_lora_weights"] = "gaussian";
  if (peft.init_lora_weights == "false") object["init_lora_weights"] = false;
  return object;
}

}  // namespace collie
