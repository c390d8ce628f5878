// What every rank of a run will hold and say to the others, found out before anything is allocated: the run's
// own stage cores and model workers go through its own programs, on operations without memory
// (kernels/meta) and in groups whose other ranks are not there (comm/fake_group.hpp).
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

// What a rank sends to the ranks of one group, or to one neighbour, in a training step.
struct PlannedTraffic {
  // "tensor", "context", "key_value", "data" (data × context), "pipeline", "tied"
  std::string group;
  std::vector<int> ranks;                     // of the group; of the last two: those it sends to
  std::map<std::string, int64_t> sent_bytes;  // by kind of call; of the last two: by what is sent

  int64_t total() const;
};

struct PlannedRank {
  int rank = 0;
  GridPlace place;
  std::vector<int> stages;
  int64_t parameters = 0;  // that it computes with, all shards of its data group together
  std::array<size_t, category_count> peak_bytes{};
  size_t peak_total_bytes = 0;
  std::vector<int> peak_activations;  // [its stages]: most micro-batches held at once
  std::vector<PlannedTraffic> traffic;
  // The rank that was modelled in its place: itself, or of a long data, context or tensor dimension one that
  // differs from it in neither end of that dimension. See memory_plan.cpp.
  int modelled_on = 0;
};

// Of every rank, for a plan of plan_training(): over a first step, an evaluation, a checkpoint and a second
// step, as far as the run has them. Peaks are those that the ranks' accounts will have, up to what depends on
// the timing of threads: how many buckets are on their way in the background, how long a message waits, and
// whether a checkpoint is still being written in the next step (it is taken to be).
std::vector<PlannedRank> predict_memory(const RunPlan& plan);

}  // namespace collie
