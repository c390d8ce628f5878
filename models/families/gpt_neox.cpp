// GPT-NeoX and Pythia (Black et al., arXiv 2204.06745): LayerNorm, attention and MLP side by side, heads
// rotated in part, queries, keys and values in one matrix, head after head.
#include "models/families/activation_keys.hpp"
#include "models/families/family.hpp"
#include "models/families/rotary_keys.hpp"

namespace collie {
namespace {

const RotaryKeys neox_rotary = {.theta = "rotary_emb_base", .part = "rotary_pct", .part_otherwise = 0.25};

void read_gpt_neox(ConfigReader& reader, ModelConfig& config) {
  config.intermediate_size =
      reader.size("intermediate_size", 4 * model_limits::width, 4 * config.hidden_size);
  config.max_position_embeddings = reader.size("max_position_embeddings", model_limits::tokens, 2048);
  config.activation = reader.one_of("hidden_act", activation_names(), Activation::gelu);
  config.gated_mlp = false;
  config.norm = {NormKind::layer, reader.number("layer_norm_eps", 1e-5, 0.0, false)};
  config.norm.bias = config.mlp_bias = true;
  config.qkv_bias = config.output_bias = reader.flag("attention_bias", true);
  config.parallel_branches = reader.flag("use_parallel_residual", true);
  read_rotary_keys(reader, neox_rotary, config);
  config.tie_word_embeddings = reader.flag("tie_word_embeddings");
  const double hidden = reader.rate("hidden_dropout", 0.0);
  config.dropout = {hidden, reader.rate("attention_dropout", 0.0), hidden};
  reader.ignore("classifier_dropout");  // of a classification head
}

void write_gpt_neox(const ModelConfig& config, nlohmann::json& object) {
  object["hidden_act"] = name_of(config.activation);
  object["layer_norm_eps"] = config.norm.eps;
  object["attention_bias"] = config.qkv_bias;
  object["use_parallel_residual"] = config.parallel_branches;
  write_rotary_keys(neox_rotary, config, object);
  object["hidden_dropout"] = config.dropout.residual;
  object["attention_dropout"] = config.dropout.attention;
}

BlockIds add_gpt_neox_block(LayerParameters& layer, int64_t block) {
  const ModelConfig& config = layer.config();
  const std::string prefix = fmt::format("gpt_neox.layers.{}.", block);
  const int64_t q_width = config.num_attention_heads * config.head_dim, width = config.intermediate_size;
  BlockIds ids;
  ids.attention_norm = layer.add_norm(prefix + "input_layernorm");
  ids.mlp_norm = layer.add_norm(prefix + "post_attention_layernorm");
  ids.qkv = layer.add_interleaved_qkv(prefix + "attention.query_key_value", config.qkv_bias, Stored::out_in);
  ids.o = layer.add_row_parallel(prefix + "attention.dense", q_width, config.output_bias, Stored::out_in);
  ids.up = layer.add_column_parallel(prefix + "mlp.dense_h_to_4h", width, config.mlp_bias, Stored::out_in);
  ids.down = layer.add_row_parallel(prefix + "mlp.dense_4h_to_h", width, config.mlp_bias, Stored::out_in);
  return ids;
}

}  // namespace

const Family& gpt_neox_family() {
  static const Family family = {
      .model_type = "gpt_neox",
      .architecture = "GPTNeoXForCausalLM",
      .keys = {.key_value_heads = nullptr, .head_dim = nullptr},
      .names = {.embedding = "gpt_neox.embed_in.weight",
                .final_norm = "gpt_neox.final_layer_norm",
                .head = "embed_out.weight"},
      .ignored = {"*.attention.bias", "*.attention.masked_bias", "*.rotary_emb.inv_freq"},
      .read = read_gpt_neox,
      .write = write_gpt_neox,
      .add_block = add_gpt_neox_block,
  };
  return family;
}

}  // namespace collie
