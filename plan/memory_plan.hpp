// Predicts the memory and the traffic of every rank before anything is allocated. The run's own stage cores
// and model workers execute its own programs, on meta tensors (kernels/meta) and in fake groups whose other
// ranks do not exist (comm/fake_group.hpp).
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "kernels/memory.hpp"
#include "plan/run_plan.hpp"

namespace collie {

// The bytes that a rank sends in one training step to the ranks of one group, or to one neighbour.
struct PlannedTraffic {
  // "tensor", "context", "key_value", "data" (data × context), "pipeline", "tied"
  std::string group;
  std::vector<int> ranks;  // members of the group; for "pipeline" and "tied": the receiving ranks
  std::map<std::string, int64_t> sent_bytes;  // by kind of call; for "pipeline" and "tied": by content

  int64_t total() const;
};

struct PlannedRank {
  int rank = 0;
  GridPlace place;
  std::vector<int> stages;
  int64_t parameters = 0;  // parameters that it computes with, over all shards of its data group
  std::array<size_t, category_count> peak_bytes{};
  size_t peak_total_bytes = 0;
  std::vector<int> peak_activations;  // [its stages]: the most micro-batches held at once
  std::vector<PlannedTraffic> traffic;
  // The rank that was modelled in this rank's place. It is the rank itself, except in a long data, context or
  // tensor dimension: there one rank stands for all ranks at neither end of the dimension. See
  // memory_plan.cpp.
  int modelled_on = 0;
};

// Predicts every rank of a plan of plan_training(), over a first step, an evaluation, a checkpoint and a
// second step, as far as the run has them. The peaks are those of the ranks' accounts, except for the part
// that depends on thread timing: how many buckets are in flight in the background, how long a message waits,
// and whether the next step starts while a checkpoint is still being written (the prediction assumes so).
std::vector<PlannedRank> predict_memory(const RunPlan& plan);

}  // namespace collie
