// InternLM2 and 2.5 (arXiv 2403.17297): Llama's blocks under other names, with queries, keys and values in
// one matrix, key head after key head. Its code is not in transformers, but in its folders.
#include "models/families/llama_blocks.hpp"
#include "models/families/rotary_keys.hpp"

namespace collie {
namespace {

// null, or {"type": "linear" or "dynamic", "factor"}: the code accepts these two keys alone.
void read_internlm2_scaling(ConfigReader& reader, ModelConfig& config) {
  const nlohmann::json& scaling = reader.value("rope_scaling");
  if (scaling.is_null()) return;
  if (!scaling.is_object()) reader.refuse("rope_scaling", scaling, "it must be null or an object");
  ConfigReader inner(scaling, reader.where() + ": rope_scaling");
  const std::map<std::string, RopeScalingKind> kinds = {{"linear", RopeScalingKind::linear},
                                                        {"dynamic", RopeScalingKind::dynamic}};
  for (const char* key : {"type", "factor"})
    if (!inner.has(key)) inner.refuse(key, nullptr, "InternLM2's rope_scaling has a type and a factor");
  config.rope_scaling.kind = inner.one_of("type", kinds, RopeScalingKind::none);
  config.rope_scaling.factor = inner.number("factor", 1, 0.0, true);
  refuse_unknown_rotary_keys(inner);
}

void read_internlm2(ConfigReader& reader, ModelConfig& config) {
  read_llama_parts(reader, config);
  config.rotary_dim = config.head_dim;
  config.rope_theta = reader.number("rope_theta", 10000.0, 0.0, true);
  read_internlm2_scaling(reader, config);
  config.qkv_bias = config.output_bias = reader.flag("bias", true);
  reader.ignore("auto_map");  // the code that this family is
}

void write_internlm2(const ModelConfig& config, nlohmann::json& object) {
  write_llama_parts(config, object);
  object["bias"] = config.qkv_bias;
  object["rope_theta"] = config.rope_theta;
  object["rope_scaling"] = nullptr;
  if (config.rope_scaling.kind == RopeScalingKind::none) return;
  const bool is_linear = config.rope_scaling.kind == RopeScalingKind::linear;
  object["rope_scaling"] = {{"type", is_linear ? "linear" : "dynamic"},
                            {"factor", config.rope_scaling.factor}};
}

BlockIds add_internlm2_block(LayerParameters& layer, int64_t block) {
  const ModelConfig& config = layer.config();
  const std::string prefix = fmt::format("model.layers.{}.", block);
  const int64_t q_width = config.num_attention_heads * config.head_dim, width = config.intermediate_size;
  BlockIds ids;
  ids.qkv = layer.add_interleaved_qkv(prefix + "attention.wqkv", config.qkv_bias, Stored::out_in);
  ids.o = layer.add_row_parallel(prefix + "attention.wo", q_width, config.output_bias, Stored::out_in);
  ids.gate = layer.add_column_parallel(prefix + "feed_forward.w1", width, false, Stored::out_in);
  ids.up = layer.add_column_parallel(prefix + "feed_forward.w3", width, false, Stored::out_in);
  ids.down = layer.add_row_parallel(prefix + "feed_forward.w2", width, false, Stored::out_in);
  ids.attention_norm = layer.add_norm(prefix + "attention_norm");
  ids.mlp_norm = layer.add_norm(prefix + "ffn_norm");
  return ids;
}

}  // namespace

const Family& internlm2_family() {
  static const Family family = {
      .model_type = "internlm2",
      .architecture = "InternLM2ForCausalLM",
      .keys = {.head_dim = nullptr},
      .names = {.embedding = "model.tok_embeddings.weight", .head = "output.weight"},
      .ignored = {"*.rotary_emb.inv_freq"},
      .read = read_internlm2,
      .write = write_internlm2,
      .add_block = add_internlm2_block,
  };
  return family;
}

}  // namespace collie
