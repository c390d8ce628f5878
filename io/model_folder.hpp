// Writes a plain Hugging Face model folder, which transformers loads.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "io/checkpoint.hpp"
#include "io/tokenizer.hpp"

namespace collie {

// config.json, generation_config.json, model.safetensors (the "weight" slices, in order of `names`) and the
// tokenizer's files. The folder appears as a whole or not at all; an older one is replaced. Throws RunError.
void write_model_folder(const std::string& folder, const nlohmann::json& config, const Tokenizer& tokenizer,
                        const std::vector<std::string>& names,
                        const std::vector<std::vector<CheckpointSlice>>& parts);

}  // namespace collie
