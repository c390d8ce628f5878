// A timed training run of the engine on random weights and tokens. The trainer, its loader, its stages and
// everything else are those of a real run.
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
  int64_t warmup = 3, steps = 10;  // the warm-up steps are not counted
  std::string dtype = "float32", device = "auto";
  std::vector<std::string> settings;  // "key.path=value", like collie-engine --set
  // TFLOP/s of all GPUs that compute, for the MFU. 0 means what gpu_peaks.hpp knows of the GPUs in use.
  double peak_tflops = 0;
};

struct TrainingFigures {
  std::string shape, device, dtype;
  int64_t parameters = 0, tokens_per_step = 0;  // targets of all replicas
  int ranks = 1;
  std::vector<double> step_s;  // of the counted steps
  double last_loss = 0;
  // The operations per step, by work_of_step() (plan/model_work.hpp): 6 · P · tokens + 12 · blocks · heads ·
  // head_dim · keys. P is the number of elements of all matrices, with the head and without the embedding.
  // keys is the number of keys that the queries see: L (L + 1) / 2 for each sequence of L tokens.
  double flops_per_step = 0;
  std::optional<double> peak_tflops;
  std::vector<size_t> peak_bytes;        // of each rank's account, all categories together
  std::vector<size_t> driver_bytes;      // of each GPU: the most in use, less what was in use before
  double seconds_before_first_step = 0;  // planning, weights, the first batch
  GraphCounts graphs;                    // of all ranks, up to the step before the last

  double median_step_s() const;
  double tokens_per_second() const;
  std::optional<double> model_flops_utilisation() const;
};

// Throws UserError for settings that no run can have, RunError if the run fails.
TrainingFigures measure_training(const TrainingSettings& settings);

// Both print the figures: to_json() as `bench_train` prints them on one line, the other for people.
nlohmann::json to_json(const TrainingFigures& figures, const TrainingSettings& settings);
std::string to_text(const TrainingFigures& figures);

}  // namespace collie::bench
