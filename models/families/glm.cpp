// GLM-4 as transformers stores it: Llama's blocks with gate and up in one matrix, biases of queries, keys and
// values, and the first half of each head rotated, in neighbouring pairs. The release of 2025 (glm4) has a
// norm of what each branch gives, too.
#include "models/families/activation_keys.hpp"
#include "models/families/family.hpp"
#include "models/families/rotary_keys.hpp"

namespace collie {
namespace {

const RotaryKeys glm_rotary = {.part_otherwise = 0.5};

void read_glm(ConfigReader& reader, ModelConfig& config) {
  config.intermediate_size = reader.size("intermediate_size", 4 * model_limits::width);
  config.max_position_embeddings = reader.size("max_position_embeddings", model_limits::tokens, 131072);
  config.activation = reader.one_of("hidden_act", activation_names(), Activation::silu);
  config.norm = {NormKind::rms, reader.number("rms_norm_eps", 0.00000015625, 0.0, false)};
  if (!reader.has("num_key_value_heads")) config.num_key_value_heads = 2;  // as transformers, as is:
  if (!reader.has("head_dim")) config.head_dim = 128;
  config.qkv_bias = reader.flag("attention_bias", true);
  config.rotary_pairs = RotaryPairs::neighbours;
  read_rotary_keys(reader, glm_rotary, config);
  config.tie_word_embeddings = reader.flag("tie_word_embeddings");
  config.dropout.attention = reader.rate("attention_dropout", 0.0);
}

void write_glm(const ModelConfig& config, nlohmann::json& object) {
  object["hidden_act"] = name_of(config.activation);
  object["rms_norm_eps"] = config.norm.eps;
  object["attention_bias"] = config.qkv_bias;
  write_rotary_keys(glm_rotary, config, object);
  object["attention_dropout"] = config.dropout.attention;
  // transformers' default is beyond the vocabulary of other models than the published ones.
  object["pad_token_id"] = nullptr;
}

BlockIds add_glm_block(LayerParameters& layer, int64_t block) {
  const ModelConfig& config = layer.config();
  const std::string prefix = fmt::format("model.layers.{}.", block);
  const int64_t q_width = config.num_attention_heads * config.head_dim;
  BlockIds ids;
  ids.q = layer.add_column_parallel(prefix + "self_attn.q_proj", q_width, config.qkv_bias, Stored::out_in);
  ids.k = layer.add_key_value(prefix + "self_attn.k_proj", config.qkv_bias, Stored::out_in);
  ids.v = layer.add_key_value(prefix + "self_attn.v_proj", config.qkv_bias, Stored::out_in);
  ids.o = layer.add_row_parallel(prefix + "self_attn.o_proj", q_width, false, Stored::out_in);
  ids.gate_up = layer.add_gate_up(prefix + "mlp.gate_up_proj", false, Stored::out_in);
  ids.down =
      layer.add_row_parallel(prefix + "mlp.down_proj", config.intermediate_size, false, Stored::out_in);
  ids.attention_norm = layer.add_norm(prefix + "input_layernorm");
  ids.mlp_norm = layer.add_norm(prefix + "post_attention_layernorm");
  return ids;
}

BlockIds add_glm4_block(LayerParameters& layer, int64_t block) {
  BlockIds ids = add_glm_block(layer, block);
  const std::string prefix = fmt::format("model.layers.{}.", block);
  ids.attention_output_norm = layer.add_norm(prefix + "post_self_attn_layernorm");
  ids.mlp_output_norm = layer.add_norm(prefix + "post_mlp_layernorm");
  return ids;
}

}  // namespace

const Family& glm_family() {
  static const Family family = {
      .model_type = "glm",
      .architecture = "GlmForCausalLM",
      .ignored = {"*.rotary_emb.inv_freq"},
      .read = read_glm,
      .write = write_glm,
      .add_block = add_glm_block,
  };
  return family;
}

const Family& glm4_family() {
  static const Family family = {
      .model_type = "glm4",
      .architecture = "Glm4ForCausalLM",
      .ignored = {"*.rotary_emb.inv_freq"},
      .read = read_glm,
      .write = write_glm,
      .add_block = add_glm4_block,
  };
  return family;
}

}  // namespace collie
