#include "peft/adapter_kind.hpp"

#include <algorithm>

#include "base/error.hpp"
#include "models/pieces.hpp"
#include "models/stage_model.hpp"

namespace collie {

const std::vector<AdapterKind>& adapter_kinds() {
  static const std::vector<AdapterKind> kinds = {lora_kind(),         adalora_kind(),       ia3_kind(),
                                                 bottleneck_kind(),   prompt_tuning_kind(), p_tuning_kind(),
                                                 prefix_tuning_kind()};
  return kinds;
}

const AdapterKind& adapter_kind(const std::string& type) {
  const std::vector<AdapterKind>& kinds = adapter_kinds();
  const auto kind =
      std::find_if(kinds.begin(), kinds.end(), [&](const AdapterKind& each) { return each.type == type; });
  COLLIE_ASSERT(kind != kinds.end(), "there are no adapters of the kind '{}'", type);
  return *kind;
}

std::set<std::string> common_adapter_keys() {
  return {"auto_mapping",    "base_model_name_or_path",
          "fan_in_fan_out",  "inference_mode",
          "modules_to_save", "peft_type",
          "peft_version",    "revision",
          "target_modules",  "task_type"};
}

void write_targets(const PeftSection& peft, const std::set<std::string>& modules,
                   nlohmann::ordered_json& object) {
  const bool by_name =
      !peft.target_modules.empty() &&
      std::none_of(peft.target_modules.begin(), peft.target_modules.end(), [](const std::string& name) {
        return name == "all-linear" || name.find_first_of("*?[") != std::string::npos;
      });
  object["target_modules"] =
      by_name ? nlohmann::ordered_json(peft.target_modules) : nlohmann::ordered_json(modules);
  if (by_name && !peft.layers_to_transform.empty()) object["layers_to_transform"] = peft.layers_to_transform;
}

bool has_transposed(const ModelSpec& model) {
  for (const NamedTensor& tensor : tensors_of(model_parameters(model.base())))
    if (tensor.transposed && model.has_adapter(tensor.name.substr(0, tensor.name.rfind('.')))) return true;
  return false;
}

}  // namespace collie
