#include "models/families/llama_blocks.hpp"

#include "models/families/activation_keys.hpp"
#include "models/families/rotary_keys.hpp"

namespace collie {

void read_llama_parts(ConfigReader& reader, ModelConfig& config, int64_t positions) {
  config.intermediate_size = reader.size("intermediate_size", 4 * model_limits::width);
  config.max_position_embeddings = reader.size("max_position_embeddings", model_limits::tokens, positions);
  config.activation = reader.one_of("hidden_act", activation_names(), Activation::silu);
  config.norm = {NormKind::rms, reader.number("rms_norm_eps", 1e-6, 0.0, false)};
  config.tie_word_embeddings = reader.flag("tie_word_embeddings");
}

void read_llama_blocks(ConfigReader& reader, ModelConfig& config, int64_t positions) {
  read_llama_parts(reader, config, positions);
  read_rotary_keys(reader, rotary_of_whole_heads, config);
  config.dropout.attention = reader.rate("attention_dropout", 0.0);
}

void write_llama_parts(const ModelConfig& config, nlohmann::json& object) {
  object["hidden_act"] = name_of(config.activation);
  object["rms_norm_eps"] = config.norm.eps;
}

void write_llama_blocks(const ModelConfig& config, nlohmann::json& object) {
  write_llama_parts(config, object);
  write_rotary_keys(rotary_of_whole_heads, config, object);
  object["attention_dropout"] = config.dropout.attention;
}

void read_sliding_window(ConfigReader& reader, int64_t otherwise, ModelConfig& config) {
  const bool is_missing = !reader.object().contains("sliding_window");
  if (!reader.has("sliding_window") && !(is_missing && otherwise > 0)) return;
  const int64_t window = reader.size("sliding_window", model_limits::tokens, otherwise);
  if (window >= config.max_position_embeddings) return;
  config.blocks.assign(static_cast<size_t>(config.num_hidden_layers), {.window = window});
}

void write_sliding_window(const ModelConfig& config, nlohmann::json& object) {
  object["sliding_window"] = nullptr;
  if (config.block(0).window > 0) object["sliding_window"] = config.block(0).window;
}

void add_llama_attention(LayerParameters& layer, const std::string& prefix, BlockIds& ids) {
  const ModelConfig& config = layer.config();
  const int64_t q_width = config.num_attention_heads * config.head_dim;
  ids.q = layer.add_column_parallel(prefix + "self_attn.q_proj", q_width, config.qkv_bias, Stored::out_in);
  ids.k = layer.add_key_value(prefix + "self_attn.k_proj", config.qkv_bias, Stored::out_in);
  ids.v = layer.add_key_value(prefix + "self_attn.v_proj", config.qkv_bias, Stored::out_in);
  ids.o = layer.add_row_parallel(prefix + "self_attn.o_proj", q_width, config.output_bias, Stored::out_in);
  if (config.query_key_norm) {
    ids.q_norm = layer.add_head_norm(prefix + "self_attn.q_norm");
    ids.k_norm = layer.add_head_norm(prefix + "self_attn.k_norm");
  }
}

BlockIds add_llama_block(LayerParameters& layer, int64_t block) {
  const ModelConfig& config = layer.config();
  const std::string prefix = fmt::format("model.layers.{}.", block);
  const int64_t width = config.intermediate_size;
  BlockIds ids;
  add_llama_attention(layer, prefix, ids);
  ids.gate = layer.add_column_parallel(prefix + "mlp.gate_proj", width, config.mlp_bias, Stored::out_in);
  ids.up = layer.add_column_parallel(prefix + "mlp.up_proj", width, config.mlp_bias, Stored::out_in);
  ids.down = layer.add_row_parallel(prefix + "mlp.down_proj", width, config.mlp_bias, Stored::out_in);
  ids.attention_norm = layer.add_norm(prefix + "input_layernorm");
  ids.mlp_norm = layer.add_norm(prefix + "post_attention_layernorm");
  return ids;
}

}  // namespace collie
