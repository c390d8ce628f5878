#include "models/families/family.hpp"

#include <algorithm>

#include "base/error.hpp"
#include "base/nearest_name.hpp"

namespace collie {
namespace {

const std::vector<const Family*>& all_families() {
  static const std::vector<const Family*> all = {
      &chatglm_family(),     &codegen_family(),  &falcon_family(),    &gemma_family(), &gemma2_family(),
      &gemma3_text_family(), &glm_family(),      &glm4_family(),      &gpt2_family(),  &gpt_neox_family(),
      &gptj_family(),        &internlm_family(), &internlm2_family(), &llama_family(), &mistral_family(),
      &moss_family(),        &phi3_family(),     &qwen2_family(),     &qwen3_family()};
  return all;
}

const std::vector<std::string> mixtures_of_experts = {
    "mixtral", "qwen2_moe", "qwen3_moe", "phimoe", "granitemoe", "olmoe", "deepseek_v2", "deepseek_v3"};

}  // namespace

const Family* find_family(const std::string& model_type) {
  for (const Family* family : all_families())
    if (family->model_type == model_type) return family;
  return nullptr;
}

const Family& family_of(const ModelConfig& config) {
  const Family* const family = find_family(config.model_type);
  COLLIE_ASSERT(family != nullptr, "no family {}", config.model_type);
  return *family;
}

std::string known_families() {
  std::string names;
  for (const Family* family : all_families())
    names += (names.empty() ? "" : ", ") + std::string(family->model_type);
  return names;
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
  std::vector<std::string> names;
  for (const Family* family : all_families()) names.emplace_back(family->model_type);
  const auto nearest = nearest_name(model_type, names);
  return nearest ? fmt::format("{}; the nearest is {}", known, *nearest) : known;
}

}  // namespace collie
