// Qwen3 (arXiv 2505.09388): Llama's blocks with norms of query and key heads.
#include "models/families/llama_blocks.hpp"
#include "models/families/qwen_windows.hpp"

namespace collie {
namespace {

void read_qwen3(ConfigReader& reader, ModelConfig& config) {
  read_llama_blocks(reader, config);
  config.query_key_norm = true;
  config.qkv_bias = config.output_bias = reader.flag("attention_bias");
  read_qwen_windows(reader, config);
}

void write_qwen3(const ModelConfig& config, nlohmann::json& object) {
  write_llama_blocks(config, object);
  object["attention_bias"] = config.qkv_bias;
  write_qwen_windows(config, object);
}

}  // namespace

const Family& qwen3_family() {
  static const Family family = {
      .model_type = "qwen3",
      .architecture = "Qwen3ForCausalLM",
      .keys = {.head_dim_otherwise = 128},
      .ignored = {"*.rotary_emb.inv_freq"},
      .read = read_qwen3,
      .write = write_qwen3,
      .add_block = add_llama_block,
  };
  return family;
}

}  // namespace collie
