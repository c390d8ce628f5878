// Everything that is known about a run before it starts, and its output formats: `collie-engine plan`.
#pragma once

#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "plan/memory_plan.hpp"
#include "plan/model_work.hpp"
#include "plan/settings.hpp"
#include "schedule/simulator.hpp"

namespace collie {

struct PlanReport {
  std::string name;
  int64_t parameters = 0;  // of the model, with its adapters
  int64_t trained_parameters = 0;
  // Elements of the parameters (and of a tied head) that every token is multiplied with.
  int64_t matrix_elements = 0;
  Grid grid;
  int zero_stage = 0;
  bool sequence_parallel = false, tied = false;
  DeviceKind device = DeviceKind::cpu;
  DType dtype = DType::f32;
  std::string recompute = "none";
  int threads_per_rank = 1;  // CPU threads

  struct Stage {
    int position = 0;  // position in the pipeline
    StageRange range;
    int64_t parameters = 0;  // sum over all tensor ranks
    double seconds = 0;      // forward and backward of one micro-batch, if measured
  };
  std::vector<Stage> stages;
  std::optional<LayerTimes> layer_times;  // if parallel.partition is "measured"

  schedule::Schedule schedule;
  schedule::Timeline timeline;  // in units of the time of one forward
  schedule::Costs costs;        // the assumed costs; with "recompute: full" a backward includes the forward

  int64_t sequences = 0, micro_batches = 0, micro_batch_size = 0, sequence_length = 0;  // of a full step
  int64_t tokens = 0, targets = 0;                                                      // of the first step
  StepWork work;                                                                        // of the first step
  int64_t total_steps = 0, steps_per_epoch = 0;
  // Updates from one estimate of the curvature to the next, each of which takes as long as a step; 0: none.
  int64_t estimate_interval = 0;
  WholeGradients whole_gradients;

  std::vector<PlannedRank> ranks;
  std::vector<int> node_of_rank;  // [ranks]; empty: one node
};

// Makes the report for a plan of plan_training(). Allocates no tensor. `node_of_rank` gives the machine of
// each rank.
PlanReport make_plan_report(const RunPlan& plan, std::vector<int> node_of_rank = {});

// Text for a terminal of 100 columns. With more than 16 ranks it shows only the rank with the most memory per
// pipeline position.
std::string to_text(const PlanReport& report);
// JSON; docs/plan.md documents the keys.
nlohmann::ordered_json to_json(const PlanReport& report);
// Draws the ranks as a grid: the pipeline from left to right, replicas from top to bottom, context and tensor
// ranks inside. It shows which ranks communicate, and draws a frame around each node's ranks.
std::string to_svg(const PlanReport& report);

// --- shared by the formats

std::string grouped(int64_t number);             // "1,234,567"
std::string blocks_of(const StageRange& range);  // "embedding, blocks 0 to 3"

}  // namespace collie
