// Qwen2 and Qwen2.5 (arXiv 2407.10671): Llama's blocks with biases of queries, keys and values.
#include "models/families/llama_blocks.hpp"
#include "models/families/qwen_windows.hpp"

namespace collie {
namespace {

void read_qwen2(ConfigReader& reader, ModelConfig& config) {
  read_llama_blocks(reader, config);
  config.qkv_bias = true;
  read_qwen_windows(reader, config);
}

void write_qwen2(const ModelConfig& config, nlohmann::json& object) {
  write_llama_blocks(config, object);
  write_qwen_windows(config, object);
}

}  // namespace

const Family& qwen2_family() {
  static const Family family = {
      .model_type = "qwen2",
      .architecture = "Qwen2ForCausalLM",
      .ignored = {"*.rotary_emb.inv_freq"},
      .read = read_qwen2,
      .write = write_qwen2,
      .add_block = add_llama_block,
  };
  return family;
}

}  // namespace collie
