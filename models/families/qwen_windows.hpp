// The keys with which Qwen says which blocks have sliding windows: blocks from max_window_layers on see
// `sliding_window` keys, if use_sliding_window is true; newer files list the blocks' kinds.
#pragma once

#include <nlohmann/json.hpp>

#include "models/config_reader.hpp"
#include "models/model_config.hpp"

namespace collie {

void read_qwen_windows(ConfigReader& reader, ModelConfig& config);
void write_qwen_windows(const ModelConfig& config, nlohmann::json& object);

}  // namespace collie
