// Writes a plain Hugging Face model folder, which transformers loads.
#pragma once

#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "io/checkpoint.hpp"
#include "io/tokenizer.hpp"

namespace collie {

// Writes config.json, generation_config.json, model.safetensors (the weights that `checkpoint`
// evaluates, in order of `names`, in config's torch_dtype: float32 or bfloat16) and the tokenizer's files.
// The folder appears as a whole or not at all, with the marker of `run` in it. An older folder of the run is
// replaced (io/run_files.hpp says what is done with files that the run did not write). The checkpoint's step
// is kept in model.safetensors. Throws RunError, and UserError if a weight is missing.
void write_model_folder(const std::string& folder, const std::string& run, const nlohmann::json& config,
                        const Tokenizer& tokenizer, const std::vector<std::string>& names,
                        const Checkpoint& checkpoint);

// The step of a folder that write_model_folder wrote; none if there is no such folder or it is damaged.
std::optional<int64_t> step_of_model_folder(const std::string& folder);

}  // namespace collie
