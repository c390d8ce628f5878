// InternLM (github.com/InternLM/InternLM): Llama's blocks with biases of attention's four matrices. Its code
// is not in transformers, but in its folders.
#include "models/families/llama_blocks.hpp"
#include "models/families/rotary_keys.hpp"

namespace collie {
namespace {

// {"base", "type": "origin" or "dynamic", "scaling_factor"}. What dynamic changes, it changes beyond
// max_position_embeddings.
void read_internlm_rotary(ConfigReader& reader, ModelConfig& config) {
  config.rotary_dim = config.head_dim;
  const nlohmann::json& rotary = reader.value("rotary");
  if (rotary.is_null()) return;
  if (!rotary.is_object()) reader.refuse("rotary", rotary, "it must be null or an object");
  ConfigReader inner(rotary, reader.where() + ": rotary");
  const std::map<std::string, RopeScalingKind> kinds = {{"origin", RopeScalingKind::none},
                                                        {"dynamic", RopeScalingKind::dynamic}};
  config.rope_theta = inner.number("base", 10000, 0.0, true);
  config.rope_scaling.kind = inner.one_of("type", kinds, RopeScalingKind::dynamic);
  config.rope_scaling.factor = inner.number("scaling_factor", 1, 0.0, true);
  refuse_unknown_rotary_keys(inner);
}

void read_internlm(ConfigReader& reader, ModelConfig& config) {
  read_llama_parts(reader, config);
  read_internlm_rotary(reader, config);
  config.qkv_bias = config.output_bias = reader.flag("bias", true);
  const int64_t heads = config.num_attention_heads;
  if (reader.size("num_key_value_heads", model_limits::heads, heads) != heads)
    reader.refuse("num_key_value_heads", reader.value("num_key_value_heads"),
                  fmt::format("InternLM has as many as num_attention_heads, {}", heads));
  reader.ignore("auto_map");  // the code that this family is
}

void write_internlm(const ModelConfig& config, nlohmann::json& object) {
  write_llama_parts(config, object);
  object["bias"] = config.qkv_bias;
  const bool is_dynamic = config.rope_scaling.kind == RopeScalingKind::dynamic;
  object["rotary"] = {{"base", config.rope_theta}, {"type", is_dynamic ? "dynamic" : "origin"}};
  if (is_dynamic) object["rotary"]["scaling_factor"] = config.rope_scaling.factor;
}

}  // namespace

const Family& internlm_family() {
  static const Family family = {
      .model_type = "internlm",
      .architecture = "InternLMForCausalLM",
      .keys = {.key_value_heads = nullptr, .head_dim = nullptr},
      .ignored = {"*.rotary_emb.inv_freq"},
      .read = read_internlm,
      .write = write_internlm,
      .add_block = add_llama_block,
  };
  return family;
}

}  // namespace collie
