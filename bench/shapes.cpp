#include "bench/shapes.hpp"

#include "base/error.hpp"

namespace collie::bench {

namespace {

struct Sizes {
  int64_t hidden, layers, heads, key_value_heads, intermediate, vocabulary;
};

nlohmann::json llama(const Sizes& sizes, bool tied, bool attention_bias, double rope_theta) {
  return {{"model_type", "llama"},
          {"hidden_size", sizes.hidden},
          {"num_hidden_layers", sizes.layers},
          {"num_attention_heads", sizes.heads},
          {"num_key_value_heads", sizes.key_value_heads},
          {"intermediate_size", sizes.intermediate},
          {"vocab_size", sizes.vocabulary},
          {"max_position_embeddings", 8192},
          {"rope_theta", rope_theta},
          {"rms_norm_eps", 1e-6},
          {"tie_word_embeddings", tied},
          {"attention_bias", attention_bias}};
}

nlohmann::json qwen(const Sizes& sizes, bool tied) {
  return llama(sizes, tied, true, 1e6);
}

nlohmann::json llama3(const Sizes& sizes, bool tied) {
  return llama(sizes, tied, false, 5e5);
}

}  // namespace

const std::vector<ModelShape>& model_shapes() {
  static const std::vector<ModelShape> all = {
      {"tiny", llama3({64, 2, 4, 2, 160, 512}, true), 0},
      {"qwen2.5-0.5b", qwen({896, 24, 14, 2, 4864, 151936}, true), 494'032'768},
      {"llama3.2-1b", llama3({2048, 16, 32, 8, 8192, 128256}, true), 1'235'814'400},
      {"qwen2.5-1.5b", qwen({1536, 28, 12, 2, 8960, 151936}, true), 1'543'714'304},
      {"qwen2.5-3b", qwen({2048, 36, 16, 2, 11008, 151936}, true), 3'085'938'688},
      {"qwen2.5-7b", qwen({3584, 28, 28, 4, 18944, 152064}, false), 7'615'616'512},
      {"llama3-8b", llama3({4096, 32, 32, 8, 14336, 128256}, false), 8'030'261'248},
  };
  return all;
}

const ModelShape& model_shape(const std::string& name) {
  std::string known;
  for (const ModelShape& shape : model_shapes()) {
    if (shape.name == name) return shape;
    known += (known.empty() ? "" : ", ") + shape.name;
  }
  throw UserError("--shape: there is no '{}'; known: {}", name, known);
}

}  // namespace collie::bench
