// What Llama and its descendants have in common: the names of a block's tensors, the keys of RMSNorm, the
// gated MLP and rotary positions.
#pragma once

#include "models/families/family.hpp"

namespace collie {

// Sizes, norm and MLP; `positions` is the family's default of max_position_embeddings.
void read_llama_parts(ConfigReader& reader, ModelConfig& config, int64_t positions = 2048);
void write_llama_parts(const ModelConfig& config, nlohmann::json& object);
// The same with rotary positions and attention's dropout.
void read_llama_blocks(ConfigReader& reader, ModelConfig& config, int64_t positions = 2048);
void write_llama_blocks(const ModelConfig& config, nlohmann::json& object);
// The window of all blocks, or null for none. `otherwise` is the window where the key is missing, 0: none. A
// window that every position fits into is none. config has max_position_embeddings.
void read_sliding_window(ConfigReader& reader, int64_t otherwise, ModelConfig& config);
void write_sliding_window(const ModelConfig& config, nlohmann::json& object);
// The matrices of attention, and norms of queries and keys where the config has them: "self_attn.q_proj" and
// so on behind `prefix` ("model.layers.3.").
void add_llama_attention(LayerParameters& layer, const std::string& prefix, BlockIds& ids);
BlockIds add_llama_block(LayerParameters& layer, int64_t block);

}  // namespace collie
