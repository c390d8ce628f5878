// Mistral (arXiv 2310.06825): Llama's blocks, each query of which may see a window of keys alone.
#include "models/families/llama_blocks.hpp"

namespace collie {
namespace {

void read_mistral(ConfigReader& reader, ModelConfig& config) {
  read_llama_blocks(reader, config, 4096 * 32);
  read_sliding_window(reader, 4096, config);
}

void write_mistral(const ModelConfig& config, nlohmann::json& object) {
  write_llama_blocks(config, object);
  write_sliding_window(config, object);
}

}  // namespace

const Family& mistral_family() {
  static const Family family = {
      .model_type = "mistral",
      .architecture = "MistralForCausalLM",
      .keys = {.key_value_heads_otherwise = 8},
      .ignored = {"*.rotary_emb.inv_freq"},
      .read = read_mistral,
      .write = write_mistral,
      .add_block = add_llama_block,
  };
  return family;
}

}  // namespace collie
