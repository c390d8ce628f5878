// What Llama and its descendants have in common: the names of a block's tensors, the keys of RMSNorm, the
// gated MLP and rotary positions.
#pragma once

#include "models/families/family.hpp"

namespace collie {

void read_llama_blocks(ConfigReader& reader, ModelConfig& config);
void write_llama_blocks(const ModelConfig& config, nlohmann::json& object);
BlockIds add_llama_block(LayerParameters& layer, int64_t block);

}  // namespace collie
