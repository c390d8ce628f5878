#include "plan/model_work.hpp"

#include <algorithm>
#include <climits>
#include <vector>

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

StepWork work_of_step(const ModelSpec& model, int64_t tokens, int64_t visible_keys) {
  const ModelConfig& config = model.architecture;
  const std::vector<Parameter> parameters =
      stage_parameters(model, {0, config.num_hidden_layers, true, true}, {});
  const auto lowest = std::find_if(parameters.begin(), parameters.end(),
                                   [](const Parameter& parameter) { return parameter.trainable; });
  const int first = lowest == parameters.end() ? INT_MAX : lowest->layer;
  StepWork work;
  for (const Parameter& parameter : parameters) {
    // The embedding's layer has lookups alone, and a prefix is no matrix that tokens are multiplied with.
    const bool is_prefix = parameter.is_table && parameter.is_adapter;
    if (parameter.shape.rank() != 2 || parameter.layer == 0 || is_prefix) continue;
    const int products = 1 + (parameter.layer >= first ? 1 : 0) + (parameter.trainable ? 1 : 0);
    work.matrices +=
        2.0 * products * static_cast<double>(parameter.shape.numel()) * static_cast<double>(tokens);
  }
  // The embedding is layer 0, and blocks follow.
  const auto blocks = static_cast<double>(config.num_hidden_layers);
  const double reached = std::clamp(blocks + 1 - std::max(1.0, static_cast<double>(first)), 0.0, blocks);
  const auto width = static_cast<double>(config.num_attention_heads * config.head_dim);
  work.attention = (4.0 * blocks + 8.0 * reached) * width * static_cast<double>(visible_keys);
  return work;
}

StepWorkCounter::StepWorkCounter(const ModelSpec& model)
    : per_token_(work_of_step(model, 1, 0).total()),
      per_visible_key_(work_of_step(model, 0, 1).total()),
      virtual_tokens_(model.prompt.in_document()),
      virtual_keys_(model.prompt.exists() && virtual_tokens_ == 0 ? model.prompt.tokens : 0) {}

double StepWorkCounter::of(const std::vector<std::shared_ptr<const StepBatch>>& batches) const {
  double tokens = 0, keys = 0;
  for (const auto& batch : batches)
    for (const MicroBatch& micro_batch : batch->micro_batches)
      for (size_t i = 0; i + 1 < micro_batch.document_starts.size(); ++i) {
        const auto length = static_cast<double>(micro_batch.document_starts[i + 1] -
                                                micro_batch.document_starts[i] + virtual_tokens_);
        tokens += length;
        keys += length * (length + 1) / 2 + length * static_cast<double>(virtual_keys_);
      }
  return per_token_ * tokens + per_visible_key_ * keys;
}

}  // namespace collie
