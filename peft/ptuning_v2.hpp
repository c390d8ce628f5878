// Folders of P-tuning v2 (Liu et al., arXiv 2110.07602) as the authors of ChatGLM-6B write them: config.json
// is the model's with `pre_seq_len`, the number of virtual tokens, and the weights have one tensor, of the
// prefix: [v, blocks · 2 · heads · head_dim], block after block, keys before values, as peft's
// prompt_embeddings.
#pragma once

#include <nlohmann/json.hpp>
#include <string>

namespace collie {

constexpr const char* ptuning_v2_tensor = "transformer.prefix_encoder.embedding.weight";

// Whether the folder has no adapter_config.json, but a config.json with pre_seq_len.
bool is_ptuning_v2_folder(const std::string& folder);
// What the adapter_config.json of the same prefix says. Throws UserError naming the folder's config.json: for
// prefix_projection, since the tensor is then what an encoder reads.
nlohmann::ordered_json ptuning_v2_adapter_config(const std::string& folder);

}  // namespace collie
