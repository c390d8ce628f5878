// The plan of a run. It is decided and checked, and its files are opened, before the first actor exists.
// Errors in the user's input are found here, before anything is allocated.
#pragma once

#include <functional>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "io/checkpoint_choice.hpp"
#include "io/config.hpp"
#include "io/evaluated_checkpoints.hpp"
#include "io/run_folder.hpp"
#include "io/sequence_order.hpp"
#include "io/step_batches.hpp"
#include "io/tokenizer.hpp"
#include "models/model_config.hpp"
#include "models/stage_model.hpp"
#include "peft/adapter_choice.hpp"
#include "peft/adapter_folder.hpp"
#include "plan/generation_settings.hpp"
#include "plan/layer_times.hpp"
#include "runtime/device.hpp"
#include "runtime/program.hpp"
#include "runtime/trainer_core.hpp"
#include "schedule/validator.hpp"

namespace collie {

// What to do if the run folder already holds a run. move_aside: rename it to FOLDER.old-N. discard: remove
// what the run wrote. ignore: nothing will run and only the plan is wanted, so the folder is neither read nor
// made.
enum class ExistingRun : uint8_t { refuse, resume, move_aside, discard, ignore };

struct Generation {
  std::string prompt;
  int64_t max_new_tokens = 128;
  SamplingOptions sampling;
};

// The source of the ranks' weights.
struct WeightOrigin {
  enum class Kind : uint8_t { random, folder, checkpoint } kind = Kind::random;
  std::string path;  // path of the Hugging Face folder or of the checkpoint
  // Of a model with adapters: the folder of the model itself, if `path` is a checkpoint of its adapters; and
  // the adapters' own folders, if `path` is that of the model and they do not begin anew.
  std::string base;
  std::vector<AdapterOrigin> adapters;
  std::string start;  // the folder of the adapter that the run began with, if not in run.dir
};

struct PlannedSet;

struct RunPlan {
  Config config;
  Purpose purpose = Purpose::train;
  ExistingRun existing = ExistingRun::refuse;

  ModelSpec model;
  nlohmann::json model_json;            // written to final/config.json
  std::vector<AdapterChoice> adapters;  // that are used, without training, whatever config.peft says
  std::string base_hash;  // of the weights that the adapters are trained for, if there are adapters
  std::shared_ptr<const Tokenizer> tokenizer;
  std::vector<int32_t> stop_ids;                  // any of them ends a text that is generated
  std::map<std::string, std::string> kept_files;  // of final/, from the folders that the run started from
  WeightOrigin weights;

  Layout layout;
  std::vector<StageRange> ranges;  // [stages]; set_ranges() sets what follows from them, too
  // Measured times behind `ranges`, if parallel.partition is "measured".
  std::optional<LayerTimes> layer_times;
  int credits = schedule::Limits{}.credits;  // per channel; the number that the validator assumed
  int threads_per_rank = 1;
  DeviceChoice device;
  OperationsFactory make_operations;    // a host's own factory, which replaces the device's
  std::vector<std::string> step_hooks;  // names in the registry step_hooks() of every process with ranks
  // Called with the account of every rank of this process before the rank is made. Any thread may call it.
  std::function<void(const std::shared_ptr<MemoryAccount>&)> on_account;

  std::shared_ptr<const SequenceOrder> order;  // set for training
  StepSizes sizes;
  StepOrigin origin;                  // the steps that a resumed run has already done
  int64_t steps_without_targets = 0;  // the origin's steps whose batch had no targets
  int64_t skipped_steps = 0;          // those that updated nothing, by a callback's wish
  double last_norm = 0;               // of the last step's gradients
  int64_t estimated_step = 0;         // the last one whose estimate of the curvature the states have
  int64_t steps_per_epoch = 0, total_steps = 0;
  std::shared_ptr<const SequenceOrder> evaluation_order;           // of data.eval, or null
  std::vector<std::shared_ptr<const PlannedSet>> evaluation_sets;  // of eval.sets (plan/evaluation_sets.hpp)
  std::string predictions_file;  // of an evaluation: where all predictions go as JSONL; empty: nowhere
  std::optional<Checkpoint> checkpoint;  // the checkpoint that the run resumes from
  bool already_finished = false;         // a resume with no steps left
  // A resume: the evaluated checkpoints of its steps so far, on the same data as those to come.
  std::vector<EvaluatedCheckpoint> evaluated;
  // A resume from an earlier step than the newest: what comes after that step and is set aside at the start.
  std::vector<int64_t> later_checkpoints;
  bool later_final = false;

  RunFolderView folder_seen;          // training: content of the run folder when the plan was made
  std::shared_ptr<RunFolder> folder;  // training, once the run has started

  Generation generation;
  std::vector<int32_t> prompt_tokens;
  Sampling sampling;  // generation.sampling over the model's generation_config.json
};

// Sets the blocks of each stage, and which stage is the first that has a backward.
void set_ranges(RunPlan& plan, std::vector<StageRange> ranges);

// Each function throws UserError, which names the error and a correct value. Warnings go to the log.
// `allowed_changes` lists the configuration keys that a resume may change although they change the maths.
// `from` is the checkpoint of run.dir that a resume goes on from, or that is evaluated or generates text;
// base and, if the run has no checkpoint, automatic mean model.path.
RunPlan plan_training(Config config, ExistingRun existing,
                      const std::vector<std::string>& allowed_changes = {},
                      const CheckpointChoice& from = CheckpointChoice::last());
// `adapters` are used with the model.
RunPlan plan_evaluation(Config config, const CheckpointChoice& from = {},
                        std::vector<AdapterChoice> adapters = {});
RunPlan plan_generation(Config config, Generation generation,
                        const CheckpointChoice& from = CheckpointChoice::base(),
                        std::vector<AdapterChoice> adapters = {});
// Decides the model and its weights alone, for plan/model_export.hpp.
RunPlan plan_export(Config config, const CheckpointChoice& from, std::vector<AdapterChoice> adapters = {});

// Returns the factory for the operation table of `rank`: the host's own, or the device's.
OperationsFactory operations_of(const RunPlan& plan, int rank);
// The device of those tables. It is the CPU if the host brings its own factory.
DeviceChoice device_of(const RunPlan& plan);

// The configuration keys that change the computation (fingerprint() of io/config.hpp), the model, the
// tokenizer, the data and the plugins' files. Every checkpoint stores them, and a resume compares them.
nlohmann::json resume_fingerprint(const RunPlan& plan);

// for_nodes() returns as JSON what another process must know of a plan to hold ranks of it. plan_of_node()
// makes from it the plan that nodes and ranks read there, without data. `ranks_here` ranks share the
// process's threads. Throws UserError, for example if the other process does not see the files of the model
// or the checkpoint, or has not loaded the run's plugins: it loads none because the trainer says so.
std::string for_nodes(const RunPlan& plan);
RunPlan plan_of_node(const std::string& text, int ranks_here);

}  // namespace collie
