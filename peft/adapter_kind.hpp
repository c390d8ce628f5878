// The kinds of adapters, a file each: what the configuration makes of a model, and adapter_config.json.
#pragma once

#include <nlohmann/json.hpp>
#include <set>
#include <string>
#include <vector>

#include "io/config.hpp"
#include "models/model_spec.hpp"
#include "peft/adapter_config_file.hpp"

namespace collie {

struct AdapterKind {
  const char* type;       // peft.type
  const char* peft_type;  // in adapter_config.json
  bool saves_modules;     // whether it has peft.modules_to_save
  // Adds config.peft's adapters to the model, and says what is trained. Throws UserError naming the key.
  void (*add)(const Config& config, ModelSpec& model);
  // What an adapter_config.json of the kind says, without peft.path.
  PeftSection (*read)(const AdapterConfigFile& file);
  // Adds to an adapter_config.json what is not the same for all kinds. `model` is config's.
  void (*write)(const Config& config, const ModelSpec& model, nlohmann::ordered_json& object);
};

AdapterKind lora_kind();
AdapterKind adalora_kind();
AdapterKind ia3_kind();
AdapterKind bottleneck_kind();
AdapterKind prompt_tuning_kind();
AdapterKind p_tuning_kind();
AdapterKind prefix_tuning_kind();

const std::vector<AdapterKind>& adapter_kinds();
// Of a peft.type other than none. Asserts that there is one.
const AdapterKind& adapter_kind(const std::string& type);

// Keys of every adapter_config.json that say nothing about what the adapter computes.
std::set<std::string> common_adapter_keys();
// For write(): target_modules as they were given where those names mean the same to peft, with
// layers_to_transform; else each of `modules`.
void write_targets(const PeftSection& peft, const std::set<std::string>& modules,
                   nlohmann::ordered_json& object);
// For write(): whether any of the matrices with adapters is stored [in, out] (GPT-2).
bool has_transposed(const ModelSpec& model);

}  // namespace collie
