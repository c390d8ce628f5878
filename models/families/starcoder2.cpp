// StarCoder2 (Lozhkov et al., arXiv 2402.19173): LayerNorm, grouped queries, rotary positions, a plain MLP,
// a window of keys, and biases of all matrices or of none.
#include "models/families/activation_keys.hpp"
#include "models/families/llama_blocks.hpp"
#include "models/families/rotary_keys.hpp"

namespace collie {
namespace {

// What published files note beside the keys of their code. It reads none of them, so those that could mean
// another model must mean this one.
void check_starcoder2_notes(ConfigReader& reader) {
  const std::pair<const char*, nlohmann::json> notes[] = {
      {"mlp_type", "default"}, {"norm_type", "layer_norm"}, {"scale_attn_weights", true}};
  for (const auto& [key, right] : notes)
    if (const nlohmann::json& found = reader.value(key); !found.is_null() && found != right)
      reader.refuse(key, found,
                    fmt::format("StarCoder2's code has no choice there: {} is right", right.dump()));
  for (const char* key : {"activation_function", "attention_softmax_in_fp32", "layer_norm_epsilon",
                          "scale_attention_softmax_in_fp32"})
    reader.ignore(key);
}

void read_starcoder2(ConfigReader& reader, ModelConfig& config) {
  // A missing key is 2; its code has no meaning for null, which is as many as heads elsewhere.
  if (const char* key = "num_key_value_heads"; reader.object().contains(key) && !reader.has(key))
    reader.refuse(key, nullptr, "StarCoder2 needs a number of key heads");
  config.intermediate_size = reader.size("intermediate_size", 4 * model_limits::width);
  config.activation = reader.one_of("hidden_act", activation_names(), Activation::gelu_tanh);
  config.gated_mlp = false;
  config.norm = {NormKind::layer, reader.number("norm_epsilon", 1e-5, 0.0, false)};
  config.norm.bias = true;
  config.qkv_bias = config.output_bias = config.mlp_bias = reader.flag("use_bias", true);
  config.max_position_embeddings = reader.size("max_position_embeddings", model_limits::tokens, 4096);
  read_rotary_keys(reader, rotary_of_whole_heads, config);
  read_sliding_window(reader, 0, config);
  config.tie_word_embeddings = reader.flag("tie_word_embeddings", true);
  config.dropout = {reader.rate("embedding_dropout", 0.0), reader.rate("attention_dropout", 0.0),
                    reader.rate("residual_dropout", 0.0)};
  config.initializer_range = 0.018042;  // where the file says nothing
  check_starcoder2_notes(reader);
}

void write_starcoder2(const ModelConfig& config, nlohmann::json& object) {
  object["hidden_act"] = name_of(config.activation);
  object["norm_epsilon"] = config.norm.eps;
  object["use_bias"] = config.qkv_bias;
  write_rotary_keys(rotary_of_whole_heads, config, object);
  write_sliding_window(config, object);
  object["embedding_dropout"] = config.dropout.embedding;
  object["attention_dropout"] = config.dropout.attention;
  object["residual_dropout"] = config.dropout.residual;
}

BlockIds add_starcoder2_block(LayerParameters& layer, int64_t block) {
  const ModelConfig& config = layer.config();
  const std::string prefix = fmt::format("model.layers.{}.", block);
  const int64_t width = config.intermediate_size;
  BlockIds ids;
  add_llama_attention(layer, prefix, ids);
  ids.up = layer.add_column_parallel(prefix + "mlp.c_fc", width, config.mlp_bias, Stored::out_in);
  ids.down = layer.add_row_parallel(prefix + "mlp.c_proj", width, config.mlp_bias, Stored::out_in);
  ids.attention_norm = layer.add_norm(prefix + "input_layernorm");
  ids.mlp_norm = layer.add_norm(prefix + "post_attention_layernorm");
  return ids;
}

}  // namespace

const Family& starcoder2_family() {
  static const Family family = {
      .model_type = "starcoder2",
      .architecture = "Starcoder2ForCausalLM",
      .keys = {.key_value_heads_otherwise = 2},
      .ignored = {"*.rotary_emb.inv_freq"},
      .read = read_starcoder2,
      .write = write_starcoder2,
      .add_block = add_starcoder2_block,
  };
  return family;
}

}  // namespace collie
