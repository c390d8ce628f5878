// Llama (Touvron et al., arXiv 2302.13971), and all that is stored as LlamaForCausalLM.
#include "models/families/llama_blocks.hpp"

namespace collie {
namespace {

void read_llama(ConfigReader& reader, ModelConfig& config) {
  read_llama_blocks(reader, config);
  config.qkv_bias = config.output_bias = reader.flag("attention_bias");
  config.mlp_bias = reader.flag("mlp_bias");
}

void write_llama(const ModelConfig& config, nlohmann::json& object) {
  write_llama_blocks(config, object);
  object["attention_bias"] = config.qkv_bias;
  object["mlp_bias"] = config.mlp_bias;
}

}  // namespace

const Family& llama_family() {
  static const Family family = {
      .model_type = "llama",
      .architecture = "LlamaForCausalLM",
      .ignored = {"*.rotary_emb.inv_freq"},
      .read = read_llama,
      .write = write_llama,
      .add_block = add_llama_block,
  };
  return family;
}

}  // namespace collie
