// Measured times of a model's parts on this machine. They balance the stages by time.
#pragma once

#include <string>

namespace collie {

struct RunPlan;

// Seconds of the forward and backward of one micro-batch on one rank, with the all-reduces over tensor and
// context ranks.
struct LayerTimes {
  double embedding_s = 0, block_s = 0;
  double head_s = 0;  // final norm, head and loss

  bool operator==(const LayerTimes&) const = default;
};

// Measures with the plan's model, shards, operation table, threads per rank and a micro-batch of its data,
// and takes each part's best of a few runs. The ranks of one tensor and context group are threads of this
// process during the measurement. Each holds one part of the model at a time, and all memory is released.
// Throws any exception of a rank.
LayerTimes measure_layers(const RunPlan& plan);

// For parallel.partition: measured. Measures, sets plan.layer_times and plan.ranges, and logs the result.
void partition_by_time(RunPlan& plan);

// Example: "embedding 0.21 ms, a block 10.3 ms, head and loss 24.1 ms".
std::string to_string(const LayerTimes& times);

}  // namespace collie
