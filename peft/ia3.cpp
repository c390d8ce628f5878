// IA³ (arXiv 2205.05638): vectors that multiply what matrices give, or what they read.
#include <algorithm>

#include "base/error.hpp"
#include "base/quote.hpp"
#include "models/stage_model.hpp"
#include "peft/adapter_kind.hpp"
#include "peft/module_choice.hpp"

namespace collie {
namespace {

// peft's defaults by the family of the model: the matrices, of which the last one's is of what it reads.
std::vector<std::string> default_targets(const ModelSpec& model, const ModuleChoice& choice) {
  const std::string& family = model.architecture.model_type;
  if (family.starts_with("qwen") || family.starts_with("gemma")) return {"q_proj", "v_proj", "down_proj"};
  if (choice.has_name("down_proj") && choice.has_name("k_proj")) return {"k_proj", "v_proj", "down_proj"};
  if (choice.has_name("c_attn")) return {"c_attn", "mlp.c_proj"};
  if (choice.has_name("query_key_value") && choice.has_name("dense_4h_to_h"))
    return {"query_key_value", "dense_4h_to_h"};
  choice.ask_for_targets();
}

void add_ia3(const Config& config, ModelSpec& model) {
  const PeftSection& peft = config.peft;
  const ModuleChoice choice(config, model);
  std::vector<std::string> targets = peft.target_modules, of_input = peft.feedforward_modules;
  if (targets.empty()) {
    targets = default_targets(model, choice);
    if (of_input.empty()) of_input = {targets.back()};
  }
  const bool all = targets == std::vector<std::string>{"all-linear"};
  for (const ModelModule& module : all ? choice.all_matrices() : choice.matrices(targets, "target_modules"))
    model.vectors[module.name] = {};
  for (const std::string& pattern : of_input) {
    bool found = false;
    for (const ModelModule& module : choice.matrices({pattern}, "feedforward_modules")) {
      const auto vector = model.vectors.find(module.name);
      if (vector == model.vectors.end()) continue;
      vector->second.of_input = found = true;
    }
    if (!found)
      throw UserError(
          "{}: '{}' matches none of the matrices of peft.target_modules; some of these are wanted",
          choice.place("feedforward_modules"), shortened(pattern));
  }
  model.trained = {"*.ia3_l"};
  for (const std::string& name : choice.saved_modules(model)) model.trained.push_back(name + ".*");
  model_parameters(model);  // refuses vectors that cannot be
}

PeftSection read_ia3(const AdapterConfigFile& file) {
  std::set<std::string> known = common_adapter_keys();
  known.insert({"feedforward_modules", "init_ia3_weights"});
  file.check_keys(known);
  PeftSection peft;
  peft.target_modules = file.read_modules("target_modules", ".ia3_l");
  peft.feedforward_modules = file.read_modules("feedforward_modules", ".ia3_l");
  file.read_saved(".ia3_l", peft);
  return peft;
}

void write_ia3(const Config&, const ModelSpec& model, nlohmann::ordered_json& object) {
  std::set<std::string> all, of_input;
  for (const auto& [name, vector] : model.vectors) {
    all.insert(name);
    if (vector.of_input) of_input.insert(name);
  }
  object["target_modules"] = all;
  object["feedforward_modules"] = of_input;
  object["fan_in_fan_out"] = has_transposed(model);
  object["init_ia3_weights"] = true;
}

}  // namespace

AdapterKind ia3_kind() {
  return {"ia3", "IA3", true, add_ia3, read_ia3, write_ia3};
}

}  // namespace collie
