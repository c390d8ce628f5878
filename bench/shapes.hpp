// Models of the sizes that people train, by name: Llama's architecture with Qwen2.5's and Llama 3's sizes.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace collie::bench {

struct ModelShape {
  std::string name;       // "qwen2.5-1.5b"
  nlohmann::json config;  // Hugging Face config.json keys of a Llama
  // The number of the released model. Qwen2.5's models have no bias in the attention's output matrix, but a
  // Llama with attention_bias has one, so ours has hidden_size more parameters per layer.
  int64_t released_parameters;
};

// tiny (for tests, of no released model), qwen2.5-0.5b, -1.5b, -3b, -7b, llama3.2-1b, llama3-8b. The rotary
// positions of Llama 3.2 are not scaled here, which changes no time.
const std::vector<ModelShape>& model_shapes();
// Throws a UserError that names the known models.
const ModelShape& model_shape(const std::string& name);

}  // namespace collie::bench
