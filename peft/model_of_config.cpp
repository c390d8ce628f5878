#include "peft/model_of_config.hpp"

#include <algorithm>

#include "base/error.hpp"
#include "base/quote.hpp"
#include "peft/adapter_kind.hpp"
#include "peft/quantised_base.hpp"

namespace collie {
ModelSpec model_of_config(const Config& config, ModelConfig architecture) {
  ModelSpec model(std::move(architecture), config.model.frozen, config.model.dropout == "config");
  model.trained = config.train.trainable;
  quantise_model(config, model);
  if (config.peft.type == "none") return model;
  adapter_kind(config.peft.type).add(config, model);
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
