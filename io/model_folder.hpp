// Writes a plain Hugging Face model folder, which transformers loads.
#pragma once

#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "io/checkpoint.hpp"
#include "io/tokenizer.hpp"

namespace collie {

// Writes config.json, generation_config.json, the weights that `checkpoint` evaluates, in order of `names`,
// the tokenizer's files and `others` (name and contents; those of the tokenizer win). The weights are in
// config's dtype (float32, bfloat16 or float16), in model.safetensors or, if they have more than
// `most_bytes`, in several files with an index (io/weight_shards.hpp). One tensor is in memory at a time. The
// folder appears as a whole or not at all, with the marker of `run` in it. An older folder of the run is
// replaced (io/run_files.hpp says what is done with files that the run did not write). The checkpoint's step
// is kept in the files of weights. Throws RunError, also if a weight is too large for float16, and UserError
// if a weight is missing.
void write_model_folder(const std::string& folder, const std::string& run, const nlohmann::json& config,
                        const Tokenizer& tokenizer, const std::vector<std::string>& names,
                        const Checkpoint& checkpoint, uint64_t most_bytes,
                        const std::map<std::string, std::string>& others = {});

// An adapter's folder, as Hugging Face's peft writes it (peft/adapter_folder.hpp), with the same promises.
struct AdapterContents {
  nlohmann::ordered_json config;                   // adapter_config.json
  std::map<std::string, std::string> names;        // of the tensors in adapter_model.safetensors, by ours
  std::string dtype = "float32";                   // or bfloat16, float16
  std::map<std::string, std::string> others = {};  // beside the tokenizer's files
};
void write_adapter_folder(const std::string& folder, const std::string& run, const AdapterContents& contents,
                          const Tokenizer& tokenizer, const Checkpoint& checkpoint);

// The step of a folder that one of the two wrote; none if there is no such folder or it is damaged.
std::optional<int64_t> step_of_model_folder(const std::string& folder);

}  // namespace collie
