// How long the parts of a model take on this machine, for stages that take the same time.
#pragma once

#include <string>

namespace collie {

struct RunPlan;

// Seconds of a forward and a backward of one micro-batch on a rank, the sums over tensor and context ranks
// included.
struct LayerTimes {
  double embedding_s = 0, block_s = 0;
  double head_s = 0;  // final norm, head and loss

  bool operator==(const LayerTimes&) const = default;
};

// With the plan's model, shards, operation table, threads a rank and a micro-batch of its data; every part's
// best of a few. The ranks of one tensor and context group are threads of this process for so long, each with
// one part of the model at a time; all memory is released. Throws what a rank throws.
LayerTimes measure_layers(const RunPlan& plan);

// parallel.partition: measured. Measures, sets plan.layer_times and plan.ranges, and says so in the log.
void partition_by_time(RunPlan& plan);

// "embedding 0.21 ms, a block 10.3 ms, head and loss 24.1 ms"
std::string to_string(const LayerTimes& times);

}  // namespace collie
