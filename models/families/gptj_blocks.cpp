#include "models/families/gptj_blocks.hpp"

#include "models/families/activation_keys.hpp"

namespace collie {

void read_gptj_blocks(ConfigReader& reader, ModelConfig& config) {
  config.intermediate_size = reader.size("n_inner", 4 * model_limits::width, 4 * config.hidden_size);
  config.max_position_embeddings = reader.size("n_positions", model_limits::tokens, 2048);
  config.activation = reader.one_of("activation_function", activation_names(), Activation::gelu_tanh);
  config.gated_mlp = false;
  config.norm = {NormKind::layer, reader.number("layer_norm_epsilon", 1e-5, 0.0, false)};
  config.norm.bias = config.mlp_bias = config.head_bias = true;
  config.parallel_branches = true;
  config.rotary_pairs = RotaryPairs::neighbours;
  config.rotary_dim = reader.size("rotary_dim", model_limits::heads, 64);
  if (config.rotary_dim > config.head_dim || config.rotary_dim % 2 != 0)
    reader.refuse(
        "rotary_dim", config.rotary_dim,
        fmt::format("an even number of a head's {} channels must be rotated, at most all", config.head_dim));
  if (!reader.flag("rotary", true))  // of GPT-J's file
    reader.refuse("rotary", false, "these models have rotary positions: true is right");
  config.tie_word_embeddings = reader.flag("tie_word_embeddings");
  config.dropout = {reader.rate("embd_pdrop", 0.0), reader.rate("attn_pdrop", 0.0),
                    reader.rate("resid_pdrop", 0.0)};
  // n_ctx is an older name of n_positions; the next two say how scores are scaled and rounded, which these
  // models' code decides alone; the rest is of classification heads.
  for (const char* key :
       {"n_ctx", "scale_attn_weights", "gradient_checkpointing", "summary_activation",
        "summary_first_dropout", "summary_proj_to_labels", "summary_type", "summary_use_proj"})
    reader.ignore(key);
}

void write_gptj_blocks(const ModelConfig& config, nlohmann::json& object) {
  object["activation_function"] = name_of(config.activation);
  object["layer_norm_epsilon"] = config.norm.eps;
  object["rotary_dim"] = config.rotary_dim;
  object["embd_pdrop"] = config.dropout.embedding;
  object["attn_pdrop"] = config.dropout.attention;
  object["resid_pdrop"] = config.dropout.residual;
}

SizeKeys gptj_sizes() {
  return {.hidden = "n_embd",
          .intermediate = "n_inner",
          .blocks = "n_layer",
          .heads = "n_head",
          .key_value_heads = nullptr,
          .head_dim = nullptr,
          .positions = "n_positions"};
}

TensorNames gptj_names() {
  return {.embedding = "transformer.wte.weight", .final_norm = "transformer.ln_f"};
}

BlockIds add_gptj_block(LayerParameters& layer, int64_t block,
                        void (*add_qkv)(LayerParameters& layer, const std::string& prefix, BlockIds& ids)) {
  const ModelConfig& config = layer.config();
  const std::string prefix = fmt::format("transformer.h.{}.", block);
  const int64_t q_width = config.num_attention_heads * config.head_dim, width = config.intermediate_size;
  BlockIds ids;
  ids.attention_norm = ids.mlp_norm = layer.add_norm(prefix + "ln_1");
  add_qkv(layer, prefix + "attn.", ids);
  ids.o = layer.add_row_parallel(prefix + "attn.out_proj", q_width, false, Stored::out_in);
  ids.up = layer.add_column_parallel(prefix + "mlp.fc_in", width, config.mlp_bias, Stored::out_in);
  ids.down = layer.add_row_parallel(prefix + "mlp.fc_out", width, config.mlp_bias, Stored::out_in);
  return ids;
}

}  // namespace collie
