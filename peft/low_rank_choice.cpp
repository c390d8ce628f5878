#include "peft/low_rank_choice.hpp"

namespace collie {
namespace {

std::vector<std::string> target_patterns(const PeftSection& peft, const ModuleChoice& choice) {
  if (!peft.target_modules.empty()) return peft.target_modules;
  if (choice.has_name("q_proj")) return {"q_proj", "v_proj"};
  for (const char* packed : {"c_attn", "query_key_value", "qkv_proj", "wqkv"})
    if (choice.has_name(packed)) return {packed};
  choice.ask_for_targets();
}

}  // namespace

std::vector<ModelModule> low_rank_targets(const PeftSection& peft, const ModuleChoice& choice) {
  if (peft.target_modules == std::vector<std::string>{"all-linear"}) return choice.all_matrices();
  return choice.matrices(target_patterns(peft, choice), "target_modules");
}

void train_beside_adapters(const PeftSection& peft, const ModuleChoice& choice, ModelSpec& model) {
  for (const std::string& name : choice.saved_modules(model)) model.trained.push_back(name + ".*");
  if (peft.bias == "all") model.trained.push_back("*.bias");
  if (peft.bias == "lora_only")
    for (const auto& [name, adapters] : model.adapters) model.trained.push_back(name + ".bias");
}

}  // namespace collie
