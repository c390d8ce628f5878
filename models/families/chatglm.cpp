// ChatGLM2-6B, ChatGLM3-6B and GLM-4-9B (arXiv 2406.12793) as their own code stores them: queries, keys and
// values of a few key heads in one matrix, gate and up in another, and the first half of each head rotated,
// in neighbouring pairs. ChatGLM-6B has the same model_type and is another model (chatglm_6b.cpp).
#include "models/families/family.hpp"

namespace collie {
namespace {

constexpr double chatglm_theta = 10000;

// Switches of which the model's code knows both ways and every published model has one.
void check_switch(ConfigReader& reader, const char* key, bool has, const char* what) {
  if (reader.flag(key, has) != has)
    reader.refuse(key, reader.value(key), fmt::format("the engine has {} only: {}", what, has));
}

void read_chatglm(ConfigReader& reader, ModelConfig& config) {
  if (const int64_t again = reader.size("num_hidden_layers", model_limits::layers, config.num_hidden_layers);
      again != config.num_hidden_layers)
    reader.refuse("num_hidden_layers", again,
                  fmt::format("num_layers says {}: they must agree", config.num_hidden_layers));
  config.intermediate_size = reader.size("ffn_hidden_size", 4 * model_limits::width);
  config.max_position_embeddings = reader.size("seq_length", model_limits::tokens, 2048);
  config.norm = {NormKind::rms, reader.number("layernorm_epsilon", 1e-5, 0.0, false)};
  if (!reader.has("multi_query_group_num")) config.num_key_value_heads = 1;  // as their code
  if (!reader.has("kv_channels")) config.head_dim = 128;
  check_switch(reader, "multi_query_attention", true, "the fused matrix of queries, keys and values");
  check_switch(reader, "rmsnorm", true, "RMSNorm");
  check_switch(reader, "post_layer_norm", true, "a norm before the head");
  check_switch(reader, "apply_residual_connection_post_layernorm", false, "residuals that pass the norms by");
  check_switch(reader, "add_bias_linear", false, "matrices without biases, but for queries, keys and values");
  config.qkv_bias = reader.flag("add_qkv_bias");
  config.rotary_pairs = RotaryPairs::neighbours;
  config.rotary_dim = config.head_dim / 2;
  if (config.head_dim % 4 != 0)
    reader.refuse("kv_channels", config.head_dim,
                  "half of a head's channels are rotated: it must be a multiple of 4");
  config.rope_theta = chatglm_theta * reader.number("rope_ratio", 1, 0, true);
  config.tie_word_embeddings = reader.flag("tie_word_embeddings");
  const double hidden = reader.rate("hidden_dropout", 0.0);
  config.dropout = {0, reader.rate("attention_dropout", 0.0), hidden};
  // The first three change how the same is computed: the scaling by the block's number is undone in the
  // softmax. The next is without effect in their code, vocab_size repeats padded_vocab_size, and the others
  // are of code that the engine does not run.
  for (const char* key :
       {"apply_query_key_layer_scaling", "attention_softmax_in_fp32", "fp32_residual_connection",
        "original_rope", "vocab_size", "auto_map", "bias_dropout_fusion", "classifier_dropout"})
    reader.ignore(key);
}

void write_chatglm(const ModelConfig& config, nlohmann::json& object) {
  object["layernorm_epsilon"] = config.norm.eps;
  object["multi_query_attention"] = object["rmsnorm"] = object["post_layer_norm"] = true;
  object["apply_residual_connection_post_layernorm"] = object["add_bias_linear"] = false;
  object["add_qkv_bias"] = config.qkv_bias;
  object["rope_ratio"] = config.rope_theta / chatglm_theta;
  object["original_rope"] = object["apply_query_key_layer_scaling"] = true;
  object["attention_softmax_in_fp32"] = object["bias_dropout_fusion"] = true;
  object["fp32_residual_connection"] = false;
  object["hidden_dropout"] = config.dropout.residual;
  object["attention_dropout"] = config.dropout.attention;
  object["vocab_size"] = config.vocab_size;
  const char* const model = "modeling_chatglm.ChatGLMForConditionalGeneration";
  object["auto_map"] = {{"AutoConfig", "configuration_chatglm.ChatGLMConfig"},
                        {"AutoModel", model},
                        {"AutoModelForCausalLM", model},
                        {"AutoModelForSeq2SeqLM", model}};
}

BlockIds add_chatglm_block(LayerParameters& layer, int64_t block) {
  const ModelConfig& config = layer.config();
  const std::string prefix = fmt::format("transformer.encoder.layers.{}.", block);
  const int64_t q_width = config.num_attention_heads * config.head_dim;
  BlockIds ids;
  ids.attention_norm = layer.add_norm(prefix + "input_layernorm");
  ids.qkv = layer.add_packed_qkv(prefix + "self_attention.query_key_value", config.qkv_bias, Stored::out_in);
  ids.o = layer.add_row_parallel(prefix + "self_attention.dense", q_width, false, Stored::out_in);
  ids.mlp_norm = layer.add_norm(prefix + "post_attention_layernorm");
  ids.gate_up = layer.add_gate_up(prefix + "mlp.dense_h_to_4h", false, Stored::out_in);
  ids.down =
      layer.add_row_parallel(prefix + "mlp.dense_4h_to_h", config.intermediate_size, false, Stored::out_in);
  return ids;
}

}  // namespace

const Family& chatglm_family() {
  static const Family family = {
      .model_type = "chatglm",
      .architecture = "ChatGLMForConditionalGeneration",
      .keys = {.intermediate = "ffn_hidden_size",
               .blocks = "num_layers",
               .key_value_heads = "multi_query_group_num",
               .head_dim = "kv_channels",
               .vocabulary = "padded_vocab_size",
               .positions = "seq_length"},
      .names = {.embedding = "transformer.embedding.word_embeddings.weight",
                .final_norm = "transformer.encoder.final_layernorm",
                .head = "transformer.output_layer.weight"},
      .ignored = {"*.rotary_pos_emb.inv_freq"},
      .read = read_chatglm,
      .write = write_chatglm,
      .add_block = add_chatglm_block,
  };
  return family;
}

}  // namespace collie
