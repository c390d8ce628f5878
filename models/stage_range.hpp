// Which part of the model a rank holds: its stage's blocks, and its share of them.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "models/model_config.hpp"

namespace collie {

// Blocks [first_block, last_block) of the model, and whether its ends are here.
struct StageRange {
  int64_t first_block = 0, last_block = 0;
  bool embedding = false, head = false;
};

// Which part of its stage a rank holds.
//
// Every rank is given the whole micro-batch. `tokens` below is what it holds of it between the layers: all,
// or, with sequence parallelism, its share_of_tokens() (tensor_parallel.hpp).
struct ModelShard {
  int tensor_rank = 0, tensor_size = 1;    // of every matrix (Shoeybi et al., arXiv 1909.08053)
  bool sequence_parallel = false;          // norms and residuals on a share of the tokens (arXiv 2205.05198)
  int context_rank = 0, context_size = 1;  // of the tokens of every sequence (arXiv 2310.01889)
};

// Throws UserError where the model's sizes cannot be cut so: names the size, and the nearest that can.
// Sequence and context parallelism ask nothing of the model.
void check_shard(const ModelConfig& config, const ModelShard& shard);

// Blocks of each stage. "parameters": embedding and head counted, the split that minimises the largest stage,
// then the sum of the stages' squares, then earlier stages smaller; "uniform": blocks as even as possible,
// earlier stages larger. Throws UserError if stages > blocks, for an unknown `how`, and for a list that does
// not add up.
std::vector<StageRange> partition_stages(const ModelConfig& config, int stages, const std::string& how);
std::vector<StageRange> partition_stages(const ModelConfig& config, const std::vector<int>& blocks_per_stage);

// What the parts of a model cost, in any unit: parameters, nanoseconds. A block costs something.
struct PartCosts {
  int64_t embedding = 0, block = 1, head = 0;
};
// The split that minimises what all stages of the costliest rank cost together, then makes ranks even, then
// the stages of each rank; at a tie earlier stages are smaller. rank_of_stage [stages]: pipeline positions,
// each from 0 with a stage at least. Throws UserError if stages > blocks.
std::vector<StageRange> partition_stages(const ModelConfig& config, const PartCosts& costs,
                                         const std::vector<int>& rank_of_stage);

}  // namespace collie
