// The model under adapters: checkpoints of adapters do not hold it.
#pragma once

#include <filesystem>
#include <optional>
#include <string>

#include "io/checkpoint.hpp"
#include "plan/run_plan.hpp"

namespace collie {

// The checkpoint, laid over the weights in model.path if the plan's model has adapters. Throws UserError if
// these are not the model's, or the checkpoint has more than the model's adapters.
std::optional<Checkpoint> over_base(const RunPlan& plan, std::optional<Checkpoint> checkpoint);

// For what comes after a training: throws UserError if the configuration's adapters are not those of the run
// that plan.checkpoint is of, or the weights in model.path not those that they were trained for.
void check_adapters_of_run(const RunPlan& plan);

// One hash of all files of weights in model.path, and of what adapters took out of them
// (plan/start_adapter.hpp), which says whether a run goes on with the model that it began with. Those of the
// files are remembered in `cache` (io/file_hash.hpp).
std::string base_hash(const RunPlan& plan, const std::filesystem::path& cache);

}  // namespace collie
