// adapter_config.json of a folder of Hugging Face's peft.
#pragma once

#include <nlohmann/json.hpp>
#include <string>

#include "io/config.hpp"
#include "models/model_spec.hpp"

namespace collie {

constexpr const char* adapter_config_name = "adapter_config.json";

// What adapter_config.json in `folder` says, without peft.path. Regular expressions and names of modules are
// those of the modules whose tensors the folder has. Throws UserError naming file and key: for another kind
// of adapter, and for what the engine does not have (DoRA, biases of adapters, ...).
PeftSection read_adapter_config(const std::string& folder);

// Where config.peft.path is given: fills config.peft from that folder. Throws UserError as
// read_adapter_config(), and for a key that config gives otherwise.
void complete_adapter_config(Config& config);
// The same with what the folder said once.
void complete_adapter_config(Config& config, PeftSection found);

// The adapter_config.json of `model`, which is config's. The base is named by its absolute path.
nlohmann::ordered_json adapter_config_of(const Config& config, const ModelSpec& model);

}  // namespace collie
