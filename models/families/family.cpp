#include "models/families/family.hpp"

#include <fmt/format.h>

#include <map>

#include "base/error.hpp"
#include "base/nearest_name.hpp"

namespace collie {
namespace {

const std::vector<const Family*>& all_families() {
  static const std::vector<const Family*> all = {&gemma_family(), &gemma2_family(),   &gemma3_text_family(),
                                                 &gpt2_family(),  &gpt_neox_family(), &llama_family(),
                                                 &qwen2_family(), &qwen3_family()};
  return all;
}

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

std::string advice_for(const std::string& model_type) {
  static const std::map<std::string, const char*> advice = {
      {"gemma3",
       "Gemma 3 with images; its text model is gemma3_text, whose config.json is the text_config of this one "
       "and whose tensors are those below language_model, without that part of their names"},
  };
  if (const auto found = advice.find(model_type); found != advice.end())
    return fmt::format(" ({})", found->second);
  std::vector<std::string> names;
  for (const Family* family : all_families()) names.emplace_back(family->model_type);
  const auto nearest = nearest_name(model_type, names);
  return nearest ? fmt::format(" (the nearest is {})", *nearest) : "";
}

}  // namespace collie
