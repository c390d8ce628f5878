// Everything that is decided, checked and opened before the first actor exists: what is wrong with the user's
// input is found here, before anything is allocated.
#pragma once

#include <functional>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "io/checkpoint.hpp"
#include "io/config.hpp"
#include "io/run_folder.hpp"
#include "io/sequence_order.hpp"
#include "io/step_batches.hpp"
#include "io/tokenizer.hpp"
#include "models/model_config.hpp"
#include "models/stage_model.hpp"
#include "plan/layer_times.hpp"
#include "runtime/device.hpp"
#include "runtime/program.hpp"
#include "runtime/trainer_core.hpp"
#include "schedule/validator.hpp"

namespace collie {

// What to do about a run folder that already holds a run. move_aside: it becomes FOLDER.old-N; discard: what
// the run wrote is removed; ignore: nothing will run, the plan alone is wanted; the folder is neither looked
// at nor made.
enum class ExistingRun : uint8_t { refuse, resume, move_aside, discard, ignore };

struct Generation {
  std::string prompt;
  int64_t max_new_tokens = 128;
  Sampling sampling;
};

// How ranks get their weights.
struct WeightOrigin {
  enum class Kind : uint8_t { random, folder, checkpoint } kind = Kind::random;
  std::string path;  // of the Hugging Face folder, or of the checkpoint
};

struct RunPlan {
  Config config;
  Purpose purpose = Purpose::train;
  ExistingRun existing = ExistingRun::refuse;

  ModelConfig model;
  nlohmann::json model_json;  // for final/config.json
  std::shared_ptr<const Tokenizer> tokenizer;
  WeightOrigin weights;

  Layout layout;
  std::vector<StageRange> ranges;            // [stages]
  std::optional<LayerTimes> layer_times;     // that they were found with; parallel.partition: measured
  int credits = schedule::Limits{}.credits;  // of each channel: those that the validator played with
  int threads_per_rank = 1;
  DeviceChoice device;
  OperationsFactory make_operations;  // a host's own, in place of the device's
  // Hears of the account of every rank of this process before the rank is made; called by any thread.
  std::function<void(const std::shared_ptr<MemoryAccount>&)> on_account;

  std::shared_ptr<const SequenceOrder> order;  // training
  StepSizes sizes;
  StepOrigin origin;                  // what a resumed run has done
  int64_t steps_without_targets = 0;  // of the origin's
  int64_t steps_per_epoch = 0, total_steps = 0;
  std::shared_ptr<const SequenceOrder> evaluation_order;  // or null
  std::optional<Checkpoint> checkpoint;                   // resumed from
  bool already_finished = false;                          // a resume with nothing left to do

  RunFolderView folder_seen;          // training: what stood in the run folder when the plan was made
  std::shared_ptr<RunFolder> folder;  // training, once started

  Generation generation;
  std::vector<int32_t> prompt_tokens;
};

// Each throws UserError naming what is wrong and what would be right; warnings go to the log.
// `allowed_changes`: configuration keys that a resume may change although they change the maths.
RunPlan plan_training(Config config, ExistingRun existing,
                      const std::vector<std::string>& allowed_changes = {});
RunPlan plan_evaluation(Config config);
RunPlan plan_generation(Config config, Generation generation);

// How rank `rank` gets its operation table: the host's own way, or the device's.
OperationsFactory operations_of(const RunPlan& plan, int rank);
// The device of those tables: where they are the host's own, the CPU.
DeviceChoice device_of(const RunPlan& plan);

// The configuration keys that change what is computed, with their values; kept in every checkpoint and
// compared when a run is resumed.
nlohmann::json resume_fingerprint(const RunPlan& plan);

// What another process must know of a plan to hold ranks of it, as JSON, and the plan that it makes of that:
// what nodes and ranks read, without data. `ranks_here` share the process's threads. Throws UserError, as
// where the other process does not see the model's or the checkpoint's files.
std::string for_nodes(const RunPlan& plan);
RunPlan plan_of_node(const std::string& text, int ranks_here);

}  // namespace collie
