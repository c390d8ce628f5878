#include "peft/model_of_config.hpp"

#include <algorithm>

#include "base/error.hpp"
#include "base/quote.hpp"
#include "peft/adapter_kind.hpp"
#include "peft/quantised_base.hpp"

namespace collie {
namespace {

// A key that says nothing for the kind is a mistake. What an adapter's folder said was checked there.
void check_keys_of_kind(const Config& config, const AdapterKind& kind) {
  if (!config.peft.path.empty()) return;
  for (const auto& [key, place] : config.file.places) {
    if (!key.starts_with("peft.")) continue;
    const std::string name = key.substr(5, key.find('.', 5) - 5);
    if (name == "type" || name == "path" || kind.keys.count(name) > 0) continue;
    throw UserError("{}: found with peft.type: {}, whose keys are {}", place, kind.type,
                    fmt::format("{}", fmt::join(kind.keys, ", ")));
  }
}

}  // namespace

ModelSpec model_of_config(const Config& config, ModelConfig architecture) {
  ModelSpec model(std::move(architecture), config.model.frozen, config.model.dropout == "config");
  model.trained = config.train.trainable;
  quantise_model(config, model);
  if (config.peft.type == "none") return model;
  const AdapterKind& kind = adapter_kind(config.peft.type);
  check_keys_of_kind(config, kind);
  kind.add(config, model);
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
