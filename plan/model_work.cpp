#include "plan/model_work.hpp"

namespace collie {

int64_t matrix_elements_of_block(const ModelConfig& config) {
  const int64_t heads = config.num_attention_heads * config.head_dim;
  const int64_t key_value_heads = config.num_key_value_heads * config.head_dim;
  return config.hidden_size *
         (2 * heads + 2 * key_value_heads + (config.gated_mlp ? 3 : 2) * config.intermediate_size);
}

int64_t matrix_elements_of_head(const ModelConfig& config) {
  return config.hidden_size * config.vocab_size;
}

int64_t matrix_elements(const ModelConfig& config) {
  return config.num_hidden_layers * matrix_elements_of_block(config) + matrix_elements_of_head(config);
}

int64_t visible_keys(const MicroBatch& batch) {
  int64_t sum = 0;
  for (size_t i = 0; i + 1 < batch.document_starts.size(); ++i) {
    const int64_t tokens = batch.document_starts[i + 1] - batch.document_starts[i];
    sum += tokens * (tokens + 1) / 2;
  }
  return sum;
}

StepWork work_of_step(const ModelConfig& config, int64_t tokens, int64_t visible_keys) {
  const auto width = static_cast<double>(config.num_attention_heads * config.head_dim);
  return {6.0 * static_cast<double>(matrix_elements(config)) * static_cast<double>(tokens),
          12.0 * static_cast<double>(config.num_hidden_layers) * width * static_cast<double>(visible_keys)};
}

}  // namespace collie
