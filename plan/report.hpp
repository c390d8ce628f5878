// Everything that is known of a run before it starts, and how it is shown: `collie-engine plan`.
#pragma once

#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "plan/memory_plan.hpp"
#include "plan/model_work.hpp"
#include "schedule/simulator.hpp"

namespace collie {

struct PlanReport {
  std::string name;
  int64_t parameters = 0;       // of the model
  int64_t matrix_elements = 0;  // of them (and of a tied head), those that every token is multiplied with
  Grid grid;
  int zero_stage = 0;
  bool sequence_parallel = false, tied = false;
  DeviceKind device = DeviceKind::cpu;
  DType dtype = DType::f32;
  std::string recompute = "none";
  int threads_per_rank = 1;  // of the CPU

  struct Stage {
    int position = 0;  // in the pipeline
    StageRange range;
    int64_t parameters = 0;  // of all tensor ranks together
    double seconds = 0;      // forward and backward of a micro-batch, where it was measured
  };
  std::vector<Stage> stages;
  std::optional<LayerTimes> layer_times;  // parallel.partition: measured

  schedule::Schedule schedule;
  schedule::Timeline timeline;  // in units of the time that a forward takes
  schedule::Costs costs;        // that were assumed; with recompute: full a backward has the forward in it

  int64_t sequences = 0, micro_batches = 0, micro_batch_size = 0, sequence_length = 0;  // of a full step
  int64_t tokens = 0, targets = 0;                                                      // of the first step
  StepWork work;                                                                        // of the first step
  int64_t total_steps = 0, steps_per_epoch = 0;

  std::vector<PlannedRank> ranks;
  std::vector<int> node_of_rank;  // [ranks], or empty: one node
};

// For a plan of plan_training(). Allocates no tensor. `node_of_rank`: which machine each rank is on.
PlanReport make_plan_report(const RunPlan& plan, std::vector<int> node_of_rank = {});

// For a terminal of 100 columns. Beyond 16 ranks, of each pipeline position the rank that holds most.
std::string to_text(const PlanReport& report);
// docs/plan.md documents the keys.
nlohmann::ordered_json to_json(const PlanReport& report);
// The ranks as a grid: the pipeline from left to right, replicas from top to bottom, context and tensor ranks
// inside; who talks to whom, and a frame around each node's ranks.
std::string to_svg(const PlanReport& report);

// --- what the formats share

std::string grouped(int64_t number);             // "1,234,567"
std::string blocks_of(const StageRange& range);  // "embedding, blocks 0 to 3"

}  // namespace collie
