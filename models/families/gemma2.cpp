// Gemma 2 (arXiv 2408.00118): norms before and after each branch, capped scores and logits, and windows on
// every other block.
#include "models/families/gemma_blocks.hpp"
#include "models/families/rotary_keys.hpp"

namespace collie {
namespace {

constexpr double score_soft_cap = 50, final_soft_cap = 30;  // transformers' defaults

void read_gemma2(ConfigReader& reader, ModelConfig& config) {
  read_gemma_blocks(reader, {.windows_before_full = 1, .logit_soft_cap = final_soft_cap}, config);
  config.max_position_embeddings = reader.size("max_position_embeddings", model_limits::tokens, 8192);
  read_rotary_keys(reader, rotary_of_whole_heads, config);
  const double cap = read_soft_cap(reader, "attn_logit_softcapping", score_soft_cap);
  for (BlockSettings& block : config.blocks) block.soft_cap = cap;
  reader.ignore("sliding_window_size");  // an older name, which transformers does not read
}

void write_gemma2(const ModelConfig& config, nlohmann::json& object) {
  write_gemma_blocks(config, object);
  write_rotary_keys(rotary_of_whole_heads, config, object);
  const double cap = config.block(0).soft_cap;
  object["attn_logit_softcapping"] = cap == 0 ? nlohmann::json() : nlohmann::json(cap);
}

}  // namespace

const Family& gemma2_family() {
  static const Family family = {
      .model_type = "gemma2",
      .architecture = "Gemma2ForCausalLM",
      .ignored = {"*.rotary_emb.inv_freq"},
      .read = read_gemma2,
      .write = write_gemma2,
      .add_block = add_gemma_block,
  };
  return family;
}

}  // namespace collie
