// GPT-J (Wang & Komatsuzaki, "GPT-J-6B: A 6 billion parameter autoregressive language model").
#include "models/families/gptj_blocks.hpp"

namespace collie {
namespace {

void add_gptj_qkv(LayerParameters& layer, const std::string& prefix, BlockIds& ids) {
  const int64_t width = layer.config().num_attention_heads * layer.config().head_dim;
  ids.k = layer.add_column_parallel(prefix + "k_proj", width, false, Stored::out_in);
  ids.v = layer.add_column_parallel(prefix + "v_proj", width, false, Stored::out_in);
  ids.q = layer.add_column_parallel(prefix + "q_proj", width, false, Stored::out_in);
}

BlockIds add_gptj(LayerParameters& layer, int64_t block) {
  return add_gptj_block(layer, block, add_gptj_qkv);
}

}  // namespace

const Family& gptj_family() {
  static const Family family = {
      .model_type = "gptj",
      .architecture = "GPTJForCausalLM",
      .keys = gptj_sizes(),
      .names = gptj_names(),
      .ignored = {"*.attn.bias", "*.attn.masked_bias", "*.embed_positions"},  // masks, angles
      .read = read_gptj_blocks,
      .write = write_gptj_blocks,
      .add_block = add_gptj,
  };
  return family;
}

}  // namespace collie
