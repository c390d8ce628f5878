#include "peft/adapter_folder.hpp"

#include <algorithm>
#include <array>
#include <filesystem>
#include <set>

#include "base/error.hpp"
#include "base/quote.hpp"
#include "io/files.hpp"
#include "io/json_text.hpp"
#include "io/tokenizers/text_pattern.hpp"
#include "models/pieces.hpp"
#include "models/stage_model.hpp"
#include "models/weights_io.hpp"

namespace collie {

namespace fs = std::filesystem;
using nlohmann::json;

namespace {

constexpr std::array<const char*, 2> adapter_files = {adapter_weights_name, "adapter_model.bin"};
constexpr const char* prefix = "base_model.model.";
constexpr const char* base_layer = ".base_layer";

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
    std::string name = tensor.starts_with(prefix) ? tensor.substr(std::string(prefix).size()) : tensor;
    std::string part = name.substr(name.rfind('.') + 1);
    name.resize(name.size() - part.size() - 1);
    for (const char* of_adapter : {".lora_A", ".lora_B"})
      if (name.ends_with(of_adapter)) {
        part = of_adapter;
        name.resize(name.size() - part.size());
      }
    if (name.ends_with(base_layer)) name.resize(name.size() - std::string(base_layer).size());
    modules[name].insert(part);
  }
  return modules;
}

class AdapterConfigReader {
 public:
  explicit AdapterConfigReader(const std::string& folder)
      : file_((fs::path(folder) / adapter_config_name).string()),
        object_(parse_json_object(read_text_file(file_), file_)),
        modules_(modules_in(WeightFolder(folder, adapter_files))) {}

  PeftSection read() const {
    check_kind();
    PeftSection peft;
    peft.type = "lora";
    peft.r = whole("r", peft.r);
    peft.lora_alpha = number("lora_alpha", peft.lora_alpha);
    peft.lora_dropout = number("lora_dropout", peft.lora_dropout);
    peft.use_rslora = flag("use_rslora");
    peft.bias = text("bias", {"none", "all", "lora_only"}, "none");
    read_start(peft);
    for (const auto& [key, target] :
         {std::pair("rank_pattern", &peft.rank_pattern), std::pair("alpha_pattern", &peft.alpha_pattern)})
      if (const json* const value = find(key)) *target = *value;
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
      refuse("peft_type", kind != nullptr ? *kind : json(), "\"LORA\", which alone is supported yet,");
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
  double number(const std::string& key, double otherwise) const {
    const json* const value = find(key);
    if (value == nullptr) return otherwise;
    if (!value->is_number() || *value < 0) refuse(key, *value, "a number of at least 0");
    return value->get<double>();
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
  return AdapterConfigReader(folder).read();
}

void complete_adapter_config(Config& config) {
  const std::string path = config.peft.path;
  if (path.empty()) return;
  PeftSection found = read_adapter_config(path);
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

json adapter_config_of(const Config& config, const ModelSpec& model) {
  const PeftSection& peft = config.peft;
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
  json object{{"peft_type", "LORA"},
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
              {"rank_pattern", peft.rank_pattern},
              {"alpha_pattern", peft.alpha_pattern},
              {"init_lora_weights", true},
              {"modules_to_save", saved.empty() ? json() : json(saved)}};
  // Names that mean the same to peft are kept as they were given; else each module is named.
  const bool keep = by_name && !peft.target_modules.empty();
  object["target_modules"] = keep ? json(peft.target_modules) : json(targets);
  if (keep && !peft.layers_to_transform.empty()) object["layers_to_transform"] = peft.layers_to_transform;
  if (peft.init_lora_weights == "gaussian") object["init_lora_weights"] = "gaussian";
  if (peft.init_lora_weights == "false") object["init_lora_weights"] = false;
  return object;
}

std::vector<NamedTensor> adapter_tensors(const ModelSpec& model) {
  std::vector<Parameter> saved = model_parameters(model);
  std::erase_if(saved, [](const Parameter& parameter) { return !parameter.is_saved; });
  return tensors_of(saved);
}

// Whether a tensor of the model is of the adapter of that name.
static bool is_of(const std::string& tensor, const std::string& adapter) {
  return adapter.empty() || tensor.ends_with(".lora_A." + adapter + ".weight") ||
         tensor.ends_with(".lora_B." + adapter + ".weight");
}

std::string name_in_adapter(const ModelSpec& model, const std::string& tensor, const std::string& adapter) {
  const size_t dot = tensor.rfind('.');
  std::string module = tensor.substr(0, dot), part = tensor.substr(dot);
  if (!adapter.empty()) module.resize(module.size() - adapter.size() - 1);
  return prefix + module + (model.adapters.count(module) > 0 ? base_layer : "") + part;
}

AdapterFolderSource::AdapterFolderSource(const AdapterOrigin& origin, const ModelSpec& model)
    : folder_(origin.folder, adapter_files) {
  for (const NamedTensor& tensor : adapter_tensors(model)) {
    if (!is_of(tensor.name, origin.name)) continue;
    const std::vector<int64_t> shape = tensor.shape.to_vector();
    slices_.push_back({tensor.name, "weight", shape, std::vector<int64_t>(shape.size(), 0), shape});
    names_.push_back(name_in_adapter(model, tensor.name, origin.name));
  }
}

void AdapterFolderSource::read(size_t index, int64_t begin, std::span<float> values) const {
  const WeightFolder::Place& place = folder_.find(names_.at(index));
  TensorReader(*place.file, *place.tensor).read(begin, values);
}

AdapterFolder::AdapterFolder(const AdapterOrigin& origin)
    : name_(origin.name), weights_(origin.folder, adapter_files) {}

bool AdapterFolder::has(const Parameter& parameter) const {
  return parameter.is_saved && is_of(parameter.name, name_);
}

void AdapterFolder::check(const ModelSpec& model) const {
  std::vector<NamedTensor> expected = adapter_tensors(model);
  for (NamedTensor& tensor : expected) tensor.name = name_in_adapter(model, tensor.name);
  const std::vector<std::string> surplus = check_tensors(weights_, expected);
  if (!surplus.empty())
    throw UserError("{}: its tensors are not those that {} describes: {} left over: {}",
                    weights_.path().string(), adapter_config_name, surplus.size(), a_few_tensors(surplus));
}

void AdapterFolder::read(const ModelSpec& model, const Parameter& parameter, Operations& operations,
                         Tensor& weight) const {
  Parameter renamed = parameter;
  renamed.pieces = pieces_of(parameter);
  for (Piece& piece : renamed.pieces) piece.tensor = name_in_adapter(model, piece.tensor, name_);
  std::vector<Tensor> weights{weight};
  read_weights(weights_, {renamed}, operations, weights);
}

}  // namespace collie
