#include "models/families/family.hpp"

#include "base/error.hpp"

namespace collie {
namespace {

const std::vector<const Family*>& all_families() {
  static const std::vector<const Family*> all = {&gemma_family(), &gpt2_family(),  &gpt_neox_family(),
                                                 &llama_family(), &qwen2_family(), &qwen3_family()};
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

}  // namespace collie
