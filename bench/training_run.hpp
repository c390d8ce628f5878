// A training run of the engine on random weights and tokens, timed: the trainer, its loader, its stages and
// everything else of a real one.
#pragma once

#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "kernels/graph_counts.hpp"
#include "kernels/memory.hpp"

namespace collie::bench {

struct TrainingSettings {
  std::string shape = "tiny";
  int64_t sequence_length = 1024, micro_batch_size = 1, gradient_accumulation_steps = 1;
  int64_t warmup = 3, steps = 10;  // the first are not counted
  std::string dtype = "float32", device = "auto";
  std::vector<std::string> settings;  // "key.path=value", as collie-engine --set
  // TFLOP/s of all that compute, for the MFU; 0: what gpu_peaks.hpp knows of the GPUs that are used
  double peak_tflops = 0;
};

struct TrainingFigures {
  std::string shape, device, dtype;
  int64_t parameters = 0, tokens_a_step = 0;  // targets of all replicas
  int ranks = 1;
  std::vector<double> step_s;  // those that count
  double last_loss = 0;
  // A step's, by work_of_step() (plan/model_work.hpp): 6 · P · tokens + 12 · blocks · heads · head_dim ·
  // keys, with P the elements of all matrices, the head included and the embedding not, and keys those that
  // the queries see: L (L + 1) / 2 for each sequence of L tokens.
  double flops_a_step = 0;
  std::optional<double> peak_tflops;
  std::vector<size_t> peak_bytes;        // of each rank's account, all categories together
  std::vector<size_t> driver_bytes;      // of each GPU: what is in use at most, less what was before
  double seconds_before_first_step = 0;  // planning, weights, the first batch
  GraphCounts graphs;                    // of all ranks, up to the step before the last

  double median_step_s() const;
  double tokens_per_second() const;
  std::optional<double> model_flops_utilisation() const;
};

// Throws UserError for settings that no run can have, RunError where the run fails.
TrainingFigures measure_training(const TrainingSettings& settings);

// What `bench_train` prints on one line, and for people.
nlohmann::json to_json(const TrainingFigures& figures, const TrainingSettings& settings);
std::string to_text(const TrainingFigures& figures);

}  // namespace collie::bench
