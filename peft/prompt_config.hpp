// The keys of adapters that are virtual tokens (peft.type: prompt_tuning, p_tuning, prefix_tuning): what
// model they make, and adapter_config.json.
#pragma once

#include <nlohmann/json.hpp>
#include <string>

#include "io/config.hpp"
#include "models/model_spec.hpp"

namespace collie {

// Whether peft.type, or adapter_config.json's peft_type, is of that kind.
bool is_prompt_type(const std::string& type);
bool is_prompt_peft_type(const nlohmann::json& peft_type);

// Adds config.peft's virtual tokens to the model, which trains them alone. Throws UserError naming the key:
// for a number that is missing or leaves no position, and for a prefix of a model with sliding windows.
void add_prompt(const Config& config, ModelSpec& model);

// Throws UserError if config.peft.path is a folder of which only the result of an encoder is known.
void check_can_be_trained(const Config& config);

// What `object`, the adapter_config.json in `file`, says. Throws UserError naming file and key.
PeftSection read_prompt_config(const nlohmann::json& object, const std::string& file);
// The adapter_config.json of `model`, which is config's.
nlohmann::ordered_json prompt_config_of(const Config& config, const ModelSpec& model);

}  // namespace collie
