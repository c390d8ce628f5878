// GPT-2 (Radford et al., "Language Models are Unsupervised Multitask Learners"): LayerNorm, learned
// positions, a plain MLP, queries, keys and values in one matrix, and matrices stored [in, out].
#include <cmath>

#include "models/families/activation_keys.hpp"
#include "models/families/family.hpp"

namespace collie {
namespace {

// Scores may be divided by the head's size, and by the number of the block, from 1.
void read_score_scales(ConfigReader& reader, ModelConfig& config) {
  const bool by_size = reader.flag("scale_attn_weights", true);
  const bool by_block = reader.flag("scale_attn_by_inverse_layer_idx");
  if (by_size && !by_block) return;
  const double of_size = by_size ? 1 / std::sqrt(static_cast<double>(config.head_dim)) : 1;
  for (int64_t block = 0; block < config.num_hidden_layers; ++block)
    config.blocks.push_back({.score_scale = by_block ? of_size / static_cast<double>(block + 1) : of_size});
}

void write_score_scales(const ModelConfig& config, nlohmann::json& object) {
  const double first = config.block(0).score_scale,
               last = config.block(config.num_hidden_layers - 1).score_scale;
  object["scale_attn_weights"] = first != 1;
  object["scale_attn_by_inverse_layer_idx"] = first != last;
}

void read_gpt2(ConfigReader& reader, ModelConfig& config) {
  config.intermediate_size = reader.size("n_inner", 4 * model_limits::width, 4 * config.hidden_size);
  config.max_position_embeddings = reader.size("n_positions", model_limits::tokens, 1024);
  config.activation = reader.one_of("activation_function", activation_names(), Activation::gelu_tanh);
  config.gated_mlp = false;
  config.norm = {NormKind::layer, reader.number("layer_norm_epsilon", 1e-5, 0.0, false)};
  config.norm.bias = config.qkv_bias = config.output_bias = config.mlp_bias = true;
  config.positions = Positions::learned;
  config.tie_word_embeddings = reader.flag("tie_word_embeddings", true);
  config.dropout = {reader.rate("embd_pdrop", 0.1), reader.rate("attn_pdrop", 0.1),
                    reader.rate("resid_pdrop", 0.1)};
  config.residual_initializer_factor = 1 / std::sqrt(2.0 * static_cast<double>(config.num_hidden_layers));
  read_score_scales(reader, config);
  // n_ctx is an older name of n_positions; the next changes how scores are rounded; the rest is of
  // classification heads.
  for (const char* key : {"n_ctx", "reorder_and_upcast_attn", "summary_activation", "summary_first_dropout",
                          "summary_proj_to_labels", "summary_type", "summary_use_proj"})
    reader.ignore(key);
}

void write_gpt2(const ModelConfig& config, nlohmann::json& object) {
  object["activation_function"] = name_of(config.activation);
  object["layer_norm_epsilon"] = config.norm.eps;
  object["embd_pdrop"] = config.dropout.embedding;
  object["attn_pdrop"] = config.dropout.attention;
  object["resid_pdrop"] = config.dropout.residual;
  write_score_scales(config, object);
}

BlockIds add_gpt2_block(LayerParameters& layer, int64_t block) {
  const ModelConfig& config = layer.config();
  const std::string prefix = fmt::format("transformer.h.{}.", block);
  const int64_t q_width = config.num_attention_heads * config.head_dim, width = config.intermediate_size;
  BlockIds ids;
  ids.attention_norm = layer.add_norm(prefix + "ln_1");
  ids.qkv = layer.add_packed_qkv(prefix + "attn.c_attn", config.qkv_bias, Stored::in_out);
  ids.o = layer.add_row_parallel(prefix + "attn.c_proj", q_width, config.output_bias, Stored::in_out);
  ids.mlp_norm = layer.add_norm(prefix + "ln_2");
  ids.up = layer.add_column_parallel(prefix + "mlp.c_fc", width, config.mlp_bias, Stored::in_out);
  ids.down = layer.add_row_parallel(prefix + "mlp.c_proj", width, config.mlp_bias, Stored::in_out);
  return ids;
}

}  // namespace

const Family& gpt2_family() {
  static const Family family = {
      .model_type = "gpt2",
      .architecture = "GPT2LMHeadModel",
      .keys = {.hidden = "n_embd",
               .intermediate = "n_inner",
               .blocks = "n_layer",
               .heads = "n_head",
               .key_value_heads = nullptr,
               .head_dim = nullptr,
               .positions = "n_positions"},
      .names = {.embedding = "transformer.wte.weight",
                .positions = "transformer.wpe.weight",
                .final_norm = "transformer.ln_f"},
      .ignored = {"*.attn.bias", "*.attn.masked_bias"},  // masks
      .read = read_gpt2,
      .write = write_gpt2,
      .add_block = add_gpt2_block,
  };
  return family;
}

}  // namespace collie
