#include "models/sharding.hpp"

#include <algorithm>

#include "models/pieces.hpp"

namespace collie {
int key_value_sharers(const ModelConfig& config, int tensor_size) {
  return static_cast<int>(std::max<int64_t>(1, tensor_size / config.num_key_value_heads));
}

ModelConfig share_of(const ModelConfig& config, const ModelShard& shard) {
  ModelConfig share = config;
  share.num_attention_heads /= shard.tensor_size;
  share.num_key_value_heads = std::max<int64_t>(1, config.num_key_value_heads / shard.tensor_size);
  share.intermediate_size /= shard.tensor_size;
  return share;
}

void cut_axis(Parameter& parameter, int axis, const ModelShard& shard) {
  keep_part(parameter, axis, shard.tensor_rank, shard.tensor_size);
}

void cut_key_value_heads(Parameter& parameter, const ModelConfig& config, const ModelShard& shard, int axis) {
  const int sharers = key_value_sharers(config, shard.tensor_size);
  if (sharers == 1) return cut_axis(parameter, axis, shard);
  keep_part(parameter, axis, shard.tensor_rank / sharers, config.num_key_value_heads);
  parameter.gradient_shares = GradientShares::key_value;
  parameter.is_primary = shard.tensor_rank % sharers == 0;
}

void replicate(Parameter& parameter, const ModelShard& shard) {
  if (shard.tensor_size > 1 && shard.sequence_parallel) parameter.gradient_shares = GradientShares::tensor;
  parameter.is_primary = shard.tensor_rank == 0;
}

}  // namespace collie
