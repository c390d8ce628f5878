#include "peft/model_of_config.hpp"

#include <algorithm>
#include <cmath>
#include <map>
#include <set>

#include "base/error.hpp"
#include "base/name_pattern.hpp"
#include "base/quote.hpp"
#include "io/json_text.hpp"
#include "io/tokenizers/text_pattern.hpp"
#include "models/pieces.hpp"
#include "models/stage_model.hpp"
#include "peft/adapter_config.hpp"
#include "peft/quantised_base.hpp"

namespace collie {
namespace {

struct Module {
  std::string name;  // of its tensors without ".weight"
  int64_t out = 0, in = 0;
  bool is_matrix = false;  // with an input and an output: neither a vector nor an embedding or a head
  bool is_table = false;
};

std::string module_of(const std::string& tensor) {
  return tensor.substr(0, tensor.rfind('.'));
}

std::vector<Module> modules_of(const ModelSpec& model) {
  std::vector<Module> modules;
  for (const Parameter& parameter : model_parameters(model)) {
    const std::string name = module_of(parameter.name);
    if (modules.empty() || modules.back().name != name) modules.push_back({name});
    Module& module = modules.back();
    if (!parameter.name.ends_with(".weight")) continue;
    module.is_table = parameter.is_table;
    module.is_matrix = parameter.shape.rank() == 2 && !parameter.is_table;
    if (parameter.shape.rank() == 2) {
      module.out = parameter.shape[0];
      module.in = parameter.shape[1];
    }
  }
  return modules;
}

// Whether the pattern matches the name or what is behind one of its dots.
bool matches_end(const std::string& pattern, const std::string& name) {
  if (matches_pattern(pattern, name)) return true;
  for (size_t dot = name.find('.'); dot != std::string::npos; dot = name.find('.', dot + 1))
    if (matches_pattern(pattern, name.substr(dot + 1))) return true;
  return false;
}

std::string last_part(const std::string& name) {
  return name.substr(name.rfind('.') + 1);
}

template <class Is>
std::string names_in_words(const std::vector<Module>& modules, const Is& is) {
  std::string text;
  std::set<std::string> seen;
  for (const Module& module : modules)
    if (is(module) && seen.insert(last_part(module.name)).second)
      text += (text.empty() ? "" : ", ") + last_part(module.name);
  return text;
}

// The number of the block: the first part of the name that is one.
std::optional<int64_t> block_of(const std::string& module) {
  std::string part;
  for (size_t begin = 0; begin <= module.size();) {
    const size_t end = std::min(module.find('.', begin), module.size());
    part = module.substr(begin, end - begin);
    if (!part.empty() && part.size() < 10 && part.find_first_not_of("0123456789") == std::string::npos)
      return std::stoll(part);
    begin = end + 1;
  }
  return std::nullopt;
}

class Adapting {
 public:
  Adapting(const Config& config, ModelSpec& model)
      : config_(config), peft_(config.peft), model_(model), modules_(modules_of(model)) {}

  void add_adapters() {
    check_other_keys();
    check_blocks();
    for (const Module& module : targets()) add_adapter(module);
    model_.trained = {"*.lora_A.weight", "*.lora_B.weight"};
    for (const std::string& name : saved_modules()) model_.trained.push_back(name + ".*");
    add_biases();
  }

 private:
  // An adapter's folder says what the keys are, if one is given.
  std::string place(const std::string& key) const {
    if (peft_.path.empty()) return config_.file.place("peft." + key);
    return peft_.path + "/" + adapter_config_name + ": " + key;
  }

  void check_other_keys() const {
    if (config_.model.from_scratch)
      throw UserError(
          "{}: adapters need the weights that they are trained for, and model.from_scratch has none that "
          "last; "
          "a model.path with weights is wanted",
          place("type"));
    for (const auto& [key, patterns] : {std::pair("model.frozen", &config_.model.frozen),
                                        std::pair("train.trainable", &config_.train.trainable)})
      if (!patterns->empty())
        throw UserError(
            "{}: given beside peft.type: {}, which trains adapters alone; [] is wanted, and "
            "peft.modules_to_save for what is trained beside them",
            config_.file.place(key), peft_.type);
  }

  void check_blocks() const {
    for (const nlohmann::json& block : peft_.layers_to_transform)
      if (block >= model_.architecture.num_hidden_layers)
        throw UserError("{}: found {}; the model has blocks 0 to {}", place("layers_to_transform"),
                        in_short(block), model_.architecture.num_hidden_layers - 1);
  }

  bool is_in_layers(const Module& module) const {
    if (peft_.layers_to_transform.empty()) return true;
    const auto block = block_of(module.name);
    return block && std::find(peft_.layers_to_transform.begin(), peft_.layers_to_transform.end(), *block) !=
                        peft_.layers_to_transform.end();
  }

  // What transformers' models of such names get from peft: queries and values.
  std::vector<std::string> patterns() const {
    if (!peft_.target_modules.empty()) return peft_.target_modules;
    const auto has = [&](const char* name) {
      return std::any_of(modules_.begin(), modules_.end(),
                         [&](const Module& module) { return last_part(module.name) == name; });
    };
    if (has("q_proj")) return {"q_proj", "v_proj"};
    for (const char* packed : {"c_attn", "query_key_value", "qkv_proj", "wqkv"})
      if (has(packed)) return {packed};
    throw UserError("{}: missing; names of the model's matrices are wanted: {}", place("target_modules"),
                    names_in_words(modules_, [](const Module& module) { return module.is_matrix; }));
  }

  void check_match(const std::string& pattern) const {
    const auto matches = [&](const Module& module) { return matches_end(pattern, module.name); };
    const auto found = std::find_if(modules_.begin(), modules_.end(), matches);
    const auto matrix = std::find_if(modules_.begin(), modules_.end(), [&](const Module& module) {
      return module.is_matrix && matches(module);
    });
    if (matrix != modules_.end()) return;
    const std::string names = names_in_words(modules_, [](const Module& module) { return module.is_matrix; });
    if (found == modules_.end())
      throw UserError("{}: '{}' matches no module of the model; its matrices are {}", place("target_modules"),
                      shortened(pattern), names);
    if (found->is_table)
      throw UserError(
          "{}: '{}' matches {}; adapters of embeddings and heads are not supported yet, and "
          "peft.modules_to_save trains them whole",
          place("target_modules"), shortened(pattern), found->name);
    throw UserError("{}: '{}' matches {}, which is no matrix; the model's matrices are {}",
                    place("target_modules"), shortened(pattern), found->name, names);
  }

  std::vector<Module> targets() const {
    const std::vector<std::string> wanted = patterns();
    const bool all = wanted.size() == 1 && wanted.front() == "all-linear";
    if (!all)
      for (const std::string& pattern : wanted) check_match(pattern);
    std::vector<Module> found;
    for (const Module& module : modules_) {
      const bool matches = all || std::any_of(wanted.begin(), wanted.end(), [&](const std::string& pattern) {
                             return matches_end(pattern, module.name);
                           });
      if (module.is_matrix && matches && is_in_layers(module)) found.push_back(module);
    }
    return found;
  }

  // As peft: the first expression that matches the name, or what is behind one of its dots.
  const double* value_for(const PatternNumbers& patterns, const char* key, const std::string& module) const {
    for (const auto& [pattern, value] : patterns.items)
      if (matches_expression(pattern, key, module)) return &value;
    return nullptr;
  }

  bool matches_expression(const std::string& pattern, const char* key, const std::string& module) const {
    const nlohmann::json text = pattern;
    const auto expression = regular_expression("^(?:.*\\.)?(?:" + pattern + ")$",
                                               JsonPlace(text, place(key), shortened(pattern)));
    std::vector<PatternPart> parts;
    expression->find(module, parts);
    return std::any_of(parts.begin(), parts.end(), [](const PatternPart& part) { return part.matches; });
  }

  void add_adapter(const Module& module) {
    const double *r = value_for(peft_.rank_pattern, "rank_pattern", module.name),
                 *alpha = value_for(peft_.alpha_pattern, "alpha_pattern", module.name);
    LowRankAdapter adapter;
    adapter.rank = r != nullptr ? static_cast<int64_t>(*r) : peft_.r;
    const int64_t most = std::min(module.in, module.out);
    if (adapter.rank > most)
      throw UserError("{}: {} is more than {} [{}, {}] has; at most {} is right",
                      place(r != nullptr ? "rank_pattern" : "r"), adapter.rank, module.name, module.out,
                      module.in, most);
    const double given = alpha != nullptr ? *alpha : peft_.lora_alpha;
    const auto rank = static_cast<double>(adapter.rank);
    adapter.scale = given / (peft_.use_rslora ? std::sqrt(rank) : rank);
    adapter.dropout = peft_.lora_dropout;
    if (peft_.init_lora_weights == "gaussian") adapter.start = AdapterStart::gaussian;
    if (peft_.init_lora_weights == "false") adapter.start = AdapterStart::random;
    model_.adapters[module.name] = {adapter};
  }

  std::vector<std::string> saved_modules() const {
    std::vector<std::string> names;
    for (const std::string& pattern : peft_.modules_to_save) {
      const size_t before = names.size();
      for (const Module& module : modules_)
        if (matches_end(pattern, module.name)) names.push_back(module.name);
      if (names.size() == before && model_.architecture.tie_word_embeddings &&
          matches_end(pattern, "lm_head"))
        throw UserError(
            "{}: the model's head is its embedding (tie_word_embeddings); a matrix with two uses cannot be "
            "saved "
            "with an adapter",
            place("modules_to_save"));
      if (names.size() == before)
        throw UserError("{}: '{}' matches no module of the model; its modules are {}",
                        place("modules_to_save"), shortened(pattern),
                        names_in_words(modules_, [](const Module&) { return true; }));
    }
    for (const std::string& name : names) check_saved(name);
    return names;
  }

  // What transformers calls a head in one version is not what it calls it in another.
  void check_saved(const std::string& name) const {
    if (name == "embed_out")
      throw UserError(
          "{}: embed_out is called lm_head by transformers 5 and not by earlier ones, so peft would not find "
          "it "
          "in the adapter; it cannot be saved with one",
          place("modules_to_save"));
    if (model_.adapters.count(name) > 0)
      throw UserError("{}: {} has an adapter; a module is trained whole or has one", place("modules_to_save"),
                      name);
    const auto module =
        std::find_if(modules_.begin(), modules_.end(), [&](const Module& each) { return each.name == name; });
    if (model_.architecture.tie_word_embeddings && module->is_table && module == modules_.begin())
      throw UserError(
          "{}: {} is the model's head, too (tie_word_embeddings); a matrix with two uses cannot be saved "
          "with "
          "an adapter",
          place("modules_to_save"), name);
  }

  void add_biases() {
    if (peft_.bias == "all") model_.trained.push_back("*.bias");
    if (peft_.bias == "lora_only")
      for (const auto& [name, adapters] : model_.adapters) model_.trained.push_back(name + ".bias");
  }

  const Config& config_;
  const PeftSection& peft_;
  ModelSpec& model_;
  std::vector<Module> modules_;
};

}  // namespace

ModelSpec model_of_config(const Config& config, ModelConfig architecture) {
  ModelSpec model(std::move(architecture), config.model.frozen, config.model.dropout == "config");
  model.trained = config.train.trainable;
  quantise_model(config, model);
  if (config.peft.type != "none") Adapting(config, model).add_adapters();
  return model;
}

void add_loraplus_group(Config& config) {
  const double ratio = config.peft.loraplus_lr_ratio;
  if (config.peft.type == "none" || ratio == 1) return;
  OptimizerGroup group;
  group.match = {"*.lora_B.weight"};
  group.options.set("lr_scale", ratio);
  std::vector<OptimizerGroup>& groups = config.optimizer.groups;
  if (std::find(groups.begin(), groups.end(), group) == groups.end()) groups.push_back(std::move(group));
}

}  // namespace collie
