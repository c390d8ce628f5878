// Blocks of GPT-J and what was made of it: attention and MLP side by side after one LayerNorm, neighbouring
// pairs of a head's first channels rotated, GELU.
#pragma once

#include "models/families/family.hpp"

namespace collie {

void read_gptj_blocks(ConfigReader& reader, ModelConfig& config);
void write_gptj_blocks(const ModelConfig& config, nlohmann::json& object);
// What these families call their sizes and their tensors outside of blocks.
SizeKeys gptj_sizes();
TensorNames gptj_names();

// All of block `block` but the matrices of queries, keys and values, which add_qkv adds to the ids; `prefix`
// is that of attention.
BlockIds add_gptj_block(LayerParameters& layer, int64_t block,
                        void (*add_qkv)(LayerParameters& layer, const std::string& prefix, BlockIds& ids));

}  // namespace collie
