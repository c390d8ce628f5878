// Falcon (Almazrouei et al., arXiv 2311.16867): LayerNorm, rotary positions, a plain MLP, and queries, keys
// and values in one matrix, key head after key head. The 7B has one key head, and attention and MLP after one
// norm. The 40B and the 180B ("new_decoder_architecture") have groups of heads and a norm for each of the
// two; the 11B has groups and one norm. Falcon-RW (ALiBi) is refused.
#include "models/families/activation_keys.hpp"
#include "models/families/family.hpp"
#include "models/families/rotary_keys.hpp"

namespace collie {
namespace {

void refuse_what_falcon_has_beside(ConfigReader& reader) {
  if (reader.flag("alibi"))
    reader.refuse("alibi", true,
                  "the engine does not have ALiBi (scores that fall with the distance of keys); false is "
                  "right, for rotary positions");
  for (const char* key : {"hidden_dropout", "attention_dropout"})
    if (const nlohmann::json& rate = reader.value(key); !is_off(rate))
      reader.refuse(key, rate,
                    "Falcon drops elements of the sum of both branches, or of none, which the engine does "
                    "not do; 0 is right");
}

// How many key heads there are. Without groups num_kv_heads says nothing, or repeats the number of heads.
void read_falcon_heads(ConfigReader& reader, bool has_groups, ModelConfig& config) {
  const bool has_one = reader.flag("multi_query", true);
  if (has_groups) return;
  if (has_one)
    config.num_key_value_heads = 1;
  else if (config.num_key_value_heads != config.num_attention_heads)
    reader.refuse("num_kv_heads", config.num_key_value_heads,
                  fmt::format("without new_decoder_architecture and multi_query there are as many as "
                              "num_attention_heads, {}",
                              config.num_attention_heads));
}

// Whether attention and MLP stand side by side, and after how many norms.
void read_falcon_branches(ConfigReader& reader, bool has_groups, ModelConfig& config) {
  config.parallel_branches = reader.flag("parallel_attn", true);
  if (has_groups && !config.parallel_branches)
    reader.refuse("parallel_attn", false, "with new_decoder_architecture both branches stand side by side");
  const int64_t norms = reader.size("num_ln_in_parallel_attn", 2, has_groups ? 2 : 1);
  if (!config.parallel_branches) return;
  if (!has_groups && norms != 1)
    reader.refuse("num_ln_in_parallel_attn", norms,
                  "without new_decoder_architecture both branches read one norm: 1 is right");
  config.one_norm = norms == 1;
}

void read_falcon(ConfigReader& reader, ModelConfig& config) {
  refuse_what_falcon_has_beside(reader);
  const bool has_groups = reader.flag("new_decoder_architecture");
  read_falcon_heads(reader, has_groups, config);
  read_falcon_branches(reader, has_groups, config);
  config.intermediate_size = reader.size("ffn_hidden_size", 4 * model_limits::width, 4 * config.hidden_size);
  config.max_position_embeddings = reader.size("max_position_embeddings", model_limits::tokens, 2048);
  config.activation = reader.one_of("activation", activation_names(), Activation::gelu);
  config.gated_mlp = false;
  config.norm = {NormKind::layer, reader.number("layer_norm_epsilon", 1e-5, 0.0, false)};
  config.norm.bias = true;
  config.qkv_bias = config.output_bias = config.mlp_bias = reader.flag("bias");
  read_rotary_keys(reader, rotary_of_whole_heads, config);
  config.tie_word_embeddings = reader.flag("tie_word_embeddings", true);
  reader.ignore("ff_factor");  // of the 11B's file: ffn_hidden_size says it
}

void write_falcon(const ModelConfig& config, nlohmann::json& object) {
  const int64_t keys = config.num_key_value_heads;
  const bool has_groups =
      config.parallel_branches && (!config.one_norm || (keys != 1 && keys != config.num_attention_heads));
  object["new_decoder_architecture"] = has_groups;
  object["multi_query"] = has_groups || keys == 1;
  object["parallel_attn"] = config.parallel_branches;
  if (has_groups) object["num_ln_in_parallel_attn"] = config.one_norm ? 1 : 2;
  object["alibi"] = false;
  object["activation"] = name_of(config.activation);
  object["layer_norm_epsilon"] = config.norm.eps;
  object["bias"] = config.qkv_bias;
  object["hidden_dropout"] = object["attention_dropout"] = 0.0;
  write_rotary_keys(rotary_of_whole_heads, config, object);
}

void add_falcon_norms(LayerParameters& layer, const std::string& prefix, BlockIds& ids) {
  const ModelConfig& config = layer.config();
  if (!config.parallel_branches) {
    ids.mlp_norm = layer.add_norm(prefix + "post_attention_layernorm");
    ids.attention_norm = layer.add_norm(prefix + "input_layernorm");
  } else if (config.one_norm) {
    ids.attention_norm = ids.mlp_norm = layer.add_norm(prefix + "input_layernorm");
  } else {
    ids.attention_norm = layer.add_norm(prefix + "ln_attn");
    ids.mlp_norm = layer.add_norm(prefix + "ln_mlp");
  }
}

BlockIds add_falcon_block(LayerParameters& layer, int64_t block) {
  const ModelConfig& config = layer.config();
  const std::string prefix = fmt::format("transformer.h.{}.", block);
  const int64_t q_width = config.num_attention_heads * config.head_dim, width = config.intermediate_size;
  BlockIds ids;
  ids.qkv =
      layer.add_interleaved_qkv(prefix + "self_attention.query_key_value", config.qkv_bias, Stored::out_in);
  ids.o =
      layer.add_row_parallel(prefix + "self_attention.dense", q_width, config.output_bias, Stored::out_in);
  ids.up = layer.add_column_parallel(prefix + "mlp.dense_h_to_4h", width, config.mlp_bias, Stored::out_in);
  ids.down = layer.add_row_parallel(prefix + "mlp.dense_4h_to_h", width, config.mlp_bias, Stored::out_in);
  add_falcon_norms(layer, prefix, ids);
  return ids;
}

}  // namespace

const Family& falcon_family() {
  static const Family family = {
      .model_type = "falcon",
      .architecture = "FalconForCausalLM",
      .keys = {.intermediate = "ffn_hidden_size", .key_value_heads = "num_kv_heads", .head_dim = nullptr},
      .names = {.embedding = "transformer.word_embeddings.weight", .final_norm = "transformer.ln_f"},
      .ignored = {"*.rotary_emb.inv_freq"},
      .read = read_falcon,
      .write = write_falcon,
      .add_block = add_falcon_block,
  };
  return family;
}

}  // namespace collie
