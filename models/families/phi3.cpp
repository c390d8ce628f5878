// Phi-3, Phi-3.5 and Phi-4 (arXiv 2404.14219): Llama's blocks with queries, keys and values in one matrix,
// gate and up in another, longrope, and dropout of what both halves of a block give.
#include "models/families/llama_blocks.hpp"
#include "models/families/rotary_keys.hpp"

namespace collie {
namespace {

constexpr int64_t transformers_padding = 32000;
const RotaryKeys phi3_rotary = {.original_otherwise = 4096, .longrope_alone = true};

// Of Phi-4-mini's files, where they are 1 and change nothing.
void check_notes(ConfigReader& reader) {
  for (const char* key : {"full_attn_mod", "interpolate_factor"})
    if (reader.has(key) && reader.value(key) != 1)
      reader.refuse(key, reader.value(key), "the engine knows no other value than 1");
}

void read_phi3(ConfigReader& reader, ModelConfig& config) {
  read_llama_parts(reader, config, 4096);
  config.norm.eps = reader.number("rms_norm_eps", 1e-5, 0.0, false);
  read_rotary_keys(reader, phi3_rotary, config);
  read_sliding_window(reader, 0, config);
  config.dropout.attention = reader.rate("attention_dropout", 0.0);
  config.dropout.residual = reader.rate("resid_pdrop", 0.0);
  check_notes(reader);
  // The code that auto_map names is that of this family, and transformers drops nothing of the embedding.
  for (const char* key : {"auto_map", "embd_pdrop"}) reader.ignore(key);
}

void write_phi3(const ModelConfig& config, nlohmann::json& object) {
  write_llama_parts(config, object);
  write_rotary_keys(phi3_rotary, config, object);
  if (config.rope_scaling.kind == RopeScalingKind::longrope)
    object["original_max_position_embeddings"] = config.rope_scaling.original_positions;
  write_sliding_window(config, object);
  object["attention_dropout"] = config.dropout.attention;
  object["resid_pdrop"] = config.dropout.residual;
  // Where nothing is said, transformers means one that a smaller vocabulary has no row for.
  if (config.vocab_size <= transformers_padding) object["pad_token_id"] = nullptr;
}

BlockIds add_phi3_block(LayerParameters& layer, int64_t block) {
  const ModelConfig& config = layer.config();
  const std::string prefix = fmt::format("model.layers.{}.", block);
  const int64_t q_width = config.num_attention_heads * config.head_dim, width = config.intermediate_size;
  BlockIds ids;
  ids.o = layer.add_row_parallel(prefix + "self_attn.o_proj", q_width, false, Stored::out_in);
  ids.qkv = layer.add_packed_qkv(prefix + "self_attn.qkv_proj", false, Stored::out_in);
  ids.gate_up = layer.add_gate_up(prefix + "mlp.gate_up_proj", false, Stored::out_in);
  ids.down = layer.add_row_parallel(prefix + "mlp.down_proj", width, false, Stored::out_in);
  ids.attention_norm = layer.add_norm(prefix + "input_layernorm");
  ids.mlp_norm = layer.add_norm(prefix + "post_attention_layernorm");
  return ids;
}

}  // namespace

const Family& phi3_family() {
  static const Family family = {
      .model_type = "phi3",
      .architecture = "Phi3ForCausalLM",
      .keys = {.head_dim = nullptr},
      .ignored = {"*.rotary_emb.inv_freq"},
      .read = read_phi3,
      .write = write_phi3,
      .add_block = add_phi3_block,
  };
  return family;
}

}  // namespace collie
