// Gemma (arXiv 2403.08295): Llama's blocks with norms of 1 + weight, GELU, and a scaled embedding.
#include <cmath>

#include "models/families/activation_keys.hpp"
#include "models/families/llama_blocks.hpp"

namespace collie {
namespace {

void read_gemma(ConfigReader& reader, ModelConfig& config) {
  read_llama_blocks(reader, config);
  config.norm.weight_offset = 1;
  config.activation = reader.one_of("hidden_act", activation_names(), Activation::gelu_tanh);
  config.activation = reader.one_of("hidden_activation", activation_names(), config.activation);
  if (config.activation == Activation::gelu)
    config.activation = Activation::gelu_tanh;  // what old files mean
  config.embedding_scale = std::sqrt(static_cast<double>(config.hidden_size));
  config.tie_word_embeddings = reader.flag("tie_word_embeddings", true);
  config.qkv_bias = config.output_bias = reader.flag("attention_bias");
}

void write_gemma(const ModelConfig& config, nlohmann::json& object) {
  write_llama_blocks(config, object);
  object["attention_bias"] = config.qkv_bias;
}

}  // namespace

const Family& gemma_family() {
  static const Family family = {
      .model_type = "gemma",
      .architecture = "GemmaForCausalLM",
      .keys = {.head_dim_otherwise = 256},
      .ignored = {"*.rotary_emb.inv_freq"},
      .read = read_gemma,
      .write = write_gemma,
      .add_block = add_llama_block,
  };
  return family;
}

}  // namespace collie
