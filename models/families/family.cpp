#include "models/families/family.hpp"

#include <algorithm>

#include "base/error.hpp"
#include "base/nearest_name.hpp"

namespace collie {
namespace {

const std::vector<const Family*>& all_families() {
  static const std::vector<const Family*> all = {
      &chatglm_family(),   &chatglm_6b_family(),  &codegen_family(),  &falcon_family(),    &gemma_family(),
      &gemma2_family(),    &gemma3_text_family(), &glm_family(),      &glm4_family(),      &gpt2_family(),
      &gpt_neox_family(),  &gptj_family(),        &internlm_family(), &internlm2_family(), &llama_family(),
      &mistral_family(),   &moss_family(),        &phi3_family(),     &qwen2_family(),     &qwen3_family(),
      &starcoder2_family()};
  return all;
}

const std::vector<std::string> mixtures_of_experts = {
    "mixtral", "qwen2_moe", "qwen3_moe", "phimoe", "granitemoe", "olmoe", "deepseek_v2", "deepseek_v3"};

// The model_types that files may have.
std::vector<std::string> types_in_files() {
  std::vector<std::string> names;
  for (const Family* family : all_families())
    if (family->stored_type == nullptr) names.emplace_back(family->model_type);
  return names;
}

}  // namespace

const Family* find_family(const std::string& model_type, ConfigReader& reader) {
  const Family* found = nullptr;
  for (const Family* family : all_families()) {
    if (family->type_in_files() != model_type) continue;
    if (family->is_meant != nullptr && family->is_meant(reader)) return family;
    if (family->is_meant == nullptr) found = family;
  }
  return found;
}

const Family& family_of(const ModelConfig& config) {
  const Family* found = nullptr;
  for (const Family* family : all_families())
    if (family->model_type == config.model_type) found = family;
  COLLIE_ASSERT(found != nullptr, "no family {}", config.model_type);
  return *found;
}

std::string known_families() {
  std::string text;
  for (const std::string& name : types_in_files()) text += (text.empty() ? "" : ", ") + name;
  return text;
}

std::string right_family(const std::string& model_type) {
  const std::string known = "known: " + known_families();
  if (std::count(mixtures_of_experts.begin(), mixtures_of_experts.end(), model_type) > 0)
    return "mixture of experts is not supported yet; " + known;
  if (model_type == "gemma3")
    return "with images Gemma 3 is not supported yet; its text model is, as gemma3_text: its config.json is "
           "the "
           "text_config of this one, and its tensors are those of language_model; " +
           known;
  const auto nearest = nearest_name(model_type, types_in_files());
  return nearest ? fmt::format("{}; the nearest is {}", known, *nearest) : known;
}

}  // namespace collie
