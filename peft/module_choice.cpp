#include "peft/module_choice.hpp"

#include <algorithm>

#include "base/error.hpp"
#include "base/name_pattern.hpp"
#include "base/quote.hpp"
#include "io/json_text.hpp"
#include "peft/adapter_config.hpp"

namespace collie {

ModuleChoice::ModuleChoice(const Config& config, const ModelSpec& model)
    : config_(config), peft_(config.peft), model_(model), modules_(modules_of(model)) {
  check_other_keys();
  check_blocks();
}

std::string ModuleChoice::place(const std::string& key) const {
  if (peft_.path.empty()) return config_.file.place("peft." + key);
  return peft_.path + "/" + adapter_config_name + ": " + key;
}

void ModuleChoice::check_other_keys() const {
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

void ModuleChoice::check_blocks() const {
  for (const nlohmann::json& block : peft_.layers_to_transform)
    if (block >= model_.architecture.num_hidden_layers)
      throw UserError("{}: found {}; the model has blocks 0 to {}", place("layers_to_transform"),
                      in_short(block), model_.architecture.num_hidden_layers - 1);
}

bool ModuleChoice::is_in_blocks(const ModelModule& module) const {
  if (peft_.layers_to_transform.empty()) return true;
  const auto block = block_of(module.name);
  return block && std::find(peft_.layers_to_transform.begin(), peft_.layers_to_transform.end(), *block) !=
                      peft_.layers_to_transform.end();
}

void ModuleChoice::check_match(const std::string& pattern, const char* key) const {
  const auto matches = [&](const ModelModule& module) { return matches_end_of_name(pattern, module.name); };
  const auto found = std::find_if(modules_.begin(), modules_.end(), matches);
  const auto matrix = std::find_if(modules_.begin(), modules_.end(), [&](const ModelModule& module) {
    return module.is_matrix && matches(module);
  });
  if (matrix != modules_.end()) return;
  const std::string names =
      names_in_words(modules_, [](const ModelModule& module) { return module.is_matrix; });
  if (found == modules_.end() && model_.architecture.tie_word_embeddings &&
      matches_end_of_name(pattern, "lm_head"))
    throw UserError(
        "{}: '{}' is the model's head, which is its embedding (tie_word_embeddings); adapters of embeddings "
        "and heads are not supported yet",
        place(key), shortened(pattern));
  if (found == modules_.end())
    throw UserError("{}: '{}' matches no module of the model; its matrices are {}", place(key),
                    shortened(pattern), names);
  if (found->is_table)
    throw UserError(
        "{}: '{}' matches {}; adapters of embeddings and heads are not supported yet, and "
        "peft.modules_to_save trains them whole",
        place(key), shortened(pattern), found->name);
  throw UserError("{}: '{}' matches {}, which is no matrix; the model's matrices are {}", place(key),
                  shortened(pattern), found->name, names);
}

std::vector<std::string> ModuleChoice::saved_modules(const ModelSpec& adapted) const {
  std::vector<std::string> names;
  for (const std::string& pattern : peft_.modules_to_save) {
    const size_t before = names.size();
    for (const ModelModule& module : modules_)
      if (matches_end_of_name(pattern, module.name)) names.push_back(module.name);
    if (names.size() == before && model_.architecture.tie_word_embeddings &&
        matches_end_of_name(pattern, "lm_head"))
      throw UserError(
          "{}: the model's head is its embedding (tie_word_embeddings); a matrix with two uses cannot be "
          "saved "
          "with an adapter",
          place("modules_to_save"));
    if (names.size() == before)
      throw UserError("{}: '{}' matches no module of the model; its modules are {}", place("modules_to_save"),
                      shortened(pattern), names_in_words(modules_, [](const ModelModule&) { return true; }));
  }
  for (const std::string& name : names) check_saved(name, adapted);
  return names;
}

// What transformers calls a head in one version is not what it calls it in another.
void ModuleChoice::check_saved(const std::string& name, const ModelSpec& adapted) const {
  if (name == "embed_out")
    throw UserError(
        "{}: embed_out is called lm_head by transformers 5 and not by earlier ones, so peft would not find "
        "it "
        "in the adapter; it cannot be saved with one",
        place("modules_to_save"));
  if (adapted.has_adapter(name))
    throw UserError("{}: {} has an adapter; a module is trained whole or has one", place("modules_to_save"),
                    name);
  const auto module = std::find_if(modules_.begin(), modules_.end(),
                                   [&](const ModelModule& each) { return each.name == name; });
  if (model_.architecture.tie_word_embeddings && module->is_table && module == modules_.begin())
    throw UserError(
        "{}: {} is the model's head, too (tie_word_embeddings); a matrix with two uses cannot be saved "
        "with "
        "an adapter",
        place("modules_to_save"), name);
}

bool ModuleChoice::has_name(const std::string& name) const {
  return std::any_of(modules_.begin(), modules_.end(),
                     [&](const ModelModule& module) { return last_part(module.name) == name; });
}

std::vector<ModelModule> ModuleChoice::matrices(const std::vector<std::string>& patterns,
                                                const char* key) const {
  // A folder's list may be one for several families: its tensors say what there is.
  const auto matches_something = [&](const std::string& pattern) {
    return std::any_of(modules_.begin(), modules_.end(),
                       [&](const ModelModule& module) { return matches_end_of_name(pattern, module.name); });
  };
  const bool is_generic =
      !peft_.path.empty() && std::any_of(patterns.begin(), patterns.end(), matches_something);
  for (const std::string& pattern : patterns)
    if (!is_generic || matches_something(pattern)) check_match(pattern, key);
  std::vector<ModelModule> found = all_matrices();
  std::erase_if(found, [&](const ModelModule& module) {
    return std::none_of(patterns.begin(), patterns.end(), [&](const std::string& pattern) {
      return matches_end_of_name(pattern, module.name);
    });
  });
  return found;
}

std::vector<ModelModule> ModuleChoice::all_matrices() const {
  std::vector<ModelModule> found = modules_;
  std::erase_if(found, [&](const ModelModule& module) { return !module.is_matrix || !is_in_blocks(module); });
  return found;
}

void ModuleChoice::ask_for_targets() const {
  throw UserError("{}: missing; names of the model's matrices are wanted: {}", place("target_modules"),
                  names_in_words(modules_, [](const ModelModule& module) { return module.is_matrix; }));
}

}  // namespace collie
