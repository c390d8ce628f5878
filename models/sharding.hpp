// How a model is cut among the ranks of a tensor group (Shoeybi et al., arXiv 1909.08053): by heads, by width
// of the feed-forward layer and by vocabulary, each into equal parts in the order of the ranks.
#pragma once

#include "models/model_config.hpp"
#include "models/parameter.hpp"
#include "models/stage_range.hpp"

namespace collie {

// How many consecutive ranks hold the same key/value head, because there are fewer heads than ranks; else 1.
// Their gradients are GradientShares::key_value, the first of them is the first holder.
int key_value_sharers(const ModelConfig& config, int tensor_size);

// What one rank computes: num_attention_heads, num_key_value_heads and intermediate_size are those it holds;
// the rest, the vocabulary too, is the model's.
ModelConfig share_of(const ModelConfig& config, const ModelShard& shard);

// Makes `parameter`, which is whole, the rank's part of it, by what its axis 0 or 1 counts.
void cut_axis(Parameter& parameter, int axis, const ModelShard& shard);  // heads, width or vocabulary
// The axis counts the channels of all key/value heads.
void cut_key_value_heads(Parameter& parameter, const ModelConfig& config, const ModelShard& shard,
                         int axis = 0);
// Whole on every rank, and used there on the tokens that the rank holds outside the matrices.
void replicate(Parameter& parameter, const ModelShard& shard);

}  // namespace collie
