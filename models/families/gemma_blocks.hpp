// What Gemma 2 and 3 have in common: Gemma's blocks with norms of what their branches give, an own scale of
// scores, capped logits, and windows on some of the blocks.
#pragma once

#include "models/families/family.hpp"

namespace collie {

// What a missing key of the two families means.
struct GemmaDefaults {
  int64_t windows_before_full = 1;  // of every so many blocks and one more, the last sees everything
  double logit_soft_cap = 0;
};

// Reads all but the rotary keys, and fills config.blocks.
void read_gemma_blocks(ConfigReader& reader, const GemmaDefaults& defaults, ModelConfig& config);
void write_gemma_blocks(const ModelConfig& config, nlohmann::json& object);

// A soft cap: a number above 0, or null for none, which is not the same as a missing key.
double read_soft_cap(ConfigReader& reader, const char* key, double otherwise);

BlockIds add_gemma_block(LayerParameters& layer, int64_t block);

}  // namespace collie
