#include "plan/existing_run.hpp"

#include <fmt/ranges.h>

#include <filesystem>

#include "base/error.hpp"
#include "base/failpoint.hpp"
#include "base/log.hpp"
#include "io/files.hpp"
#include "models/pieces.hpp"
#include "models/stage_model.hpp"
#include "optim/parameter_groups.hpp"
#include "plan/prediction_files.hpp"
#include "plan/run_inputs.hpp"
#include "plan/start_adapter.hpp"
#include "runtime/page/page.hpp"
#include "runtime/sinks/sink.hpp"

namespace collie {

namespace fs = std::filesystem;

namespace {

bool replaces(const RunPlan& plan) {
  return plan.existing == ExistingRun::move_aside || plan.existing == ExistingRun::discard;
}

RunOutputs outputs_of(const Config& config) {
  RunOutputs outputs = outputs_of_sinks(config);
  if (config.monitor.trace) outputs.push_back(trace_name);
  if (config.monitor.summary) outputs.push_back(summary_page_name);
  if (keeps_predictions(config)) outputs.emplace_back(predictions_folder_name);
  if (writes_start_adapter(config)) outputs.push_back(start_adapter_name + std::string("/"));
  return outputs;
}

RunFolderView look(const RunPlan& plan) {
  return look_at_run_folder(plan.config.run.dir, outputs_of(plan.config));
}

void check_nothing_foreign_among(const std::vector<std::string>& foreign, const RunPlan& plan) {
  if (foreign.empty()) return;
  const fs::path folder = plan.config.run.dir;
  throw UserError(
      "run.dir: '{}' is where this run would write its own, and no run that this version knows has written "
      "it ({}); move {} away, or give another run.dir",
      (folder / foreign.front()).string(),
      plan.folder_seen.marker ? fmt::format("the run's {} does not name it", marker_name)
                              : fmt::format("there is no {}", marker_name),
      foreign.size() == 1 ? "it" : fmt::format("{}", fmt::join(foreign, ", ")));
}

// A resumed run goes on in the outputs that are there. What is in the way of a checkpoint or of final/ is
// moved aside when that is written.
void check_outputs_of_resumed_run(const RunPlan& plan) {
  std::vector<std::string> foreign;
  for (const std::string& name : plan.folder_seen.foreign)
    if (name != "checkpoints" && name != "final") foreign.push_back(name);
  check_nothing_foreign_among(foreign, plan);
}

void check_may_start(const RunPlan& plan) {
  const std::string& folder = plan.config.run.dir;
  if (plan.folder_seen.marker && plan.existing == ExistingRun::refuse)
    throw UserError(
        "run.dir: '{}' already holds a run; give --resume to go on with it, --overwrite to move it aside, "
        "--overwrite=delete to remove it, or another run.dir",
        folder);
  // Moving a run aside also moves files that are not its own; removing a run leaves them.
  if (!plan.folder_seen.marker || plan.existing == ExistingRun::discard) check_nothing_foreign(plan);
  if (plan.existing == ExistingRun::resume) check_outputs_of_resumed_run(plan);
}

// Brings the locked folder into the state in which the run begins. Returns the marker of the run that it
// continues, if any.
std::optional<RunMarker> make_way(const RunPlan& plan, RunFolder& folder) {
  std::optional<RunMarker> marker = plan.folder_seen.marker;
  if (!marker) return marker;
  if (plan.existing == ExistingRun::move_aside) {
    const std::string aside = folder.move_aside();
    log::info("the run that was in '{}' is now in '{}'", folder.path(), aside);
    return std::nullopt;
  }
  if (plan.existing == ExistingRun::discard) {
    folder.discard(*marker);
    marker->has_checkpointed = false;
  } else if (!plan.checkpoint) {
    folder.forget_steps(*marker);
  } else if (!plan.later_checkpoints.empty() || plan.later_final) {
    log::info("{} and a copy of {} are now in '{}'", later_steps(plan), metrics_name,
              folder.set_aside(plan.later_checkpoints, plan.later_final));
  }
  return marker;
}

}  // namespace

std::string later_steps(const RunPlan& plan) {
  std::vector<std::string> all;
  if (!plan.later_checkpoints.empty())
    all.push_back(fmt::format("the checkpoint{} of step{} {}", plan.later_checkpoints.size() == 1 ? "" : "s",
                              plan.later_checkpoints.size() == 1 ? "" : "s",
                              fmt::join(plan.later_checkpoints, ", ")));
  if (plan.later_final) all.emplace_back("final/");
  return fmt::format("{}", fmt::join(all, ", "));
}

void check_nothing_foreign(const RunPlan& plan) {
  check_nothing_foreign_among(plan.folder_seen.foreign, plan);
}

void look_at_existing_run(RunPlan& plan) {
  if (plan.existing == ExistingRun::ignore) return;
  plan.folder_seen = look(plan);
  if (!plan.folder_seen.marker_defect.empty())
    log::warn("run.dir: {}; a checkpoint says which run is in '{}'", plan.folder_seen.marker_defect,
              plan.config.run.dir);
  check_may_start(plan);
  check_inputs_are_safe(plan.config, replaces(plan) && plan.folder_seen.marker);
}

void check_never_saved(const RunPlan& plan) {
  const RunFolderView& seen = plan.folder_seen;
  if (!seen.has_final && !seen.marker->has_checkpointed) return check_nothing_foreign(plan);
  throw UserError(
      "run.dir: '{}' holds {}, but no checkpoint to go on from; put its checkpoints back, or start anew in "
      "another run.dir or with --overwrite, which moves the run aside",
      plan.config.run.dir, seen.has_final ? "a final model" : "a run that has had checkpoints");
}

void check_checkpoint(const RunPlan& plan) {
  const bool trains = plan.purpose == Purpose::train;
  const auto optimizers = trains ? std::make_unique<ParameterGroups>(plan.config.optimizer) : nullptr;
  for (const NamedTensor& tensor : tensors_of(model_parameters(plan.model))) {
    plan.checkpoint->check(tensor.name, "weight", tensor.shape);
    if (!trains || !plan.model.trains(tensor.name)) continue;
    for (const StateDeclaration& state : optimizers->of(tensor.name, tensor.shape).optimizer->states(tensor))
      plan.checkpoint->check(tensor.name, state.name, state_shape(state, tensor));
  }
}

std::shared_ptr<RunFolder> prepare_run_folder(const RunPlan& plan) {
  failpoint("run.folder");
  auto folder = std::make_shared<RunFolder>(plan.config.run.dir);
  if (look(plan) != plan.folder_seen)
    throw UserError(
        "run.dir: '{}' has changed since the run was planned, so another process was at work in it; start "
        "again",
        folder->path());
  try {
    folder->begin(make_way(plan, *folder), outputs_of(plan.config));
    if (plan.checkpoint) {
      cut_back_sinks(folder->path(), plan.checkpoint->step(),
                     [&](const std::string& output) { return folder->has_output(output); });
      if (folder->has_output(predictions_folder_name))
        drop_predictions_after(*folder, plan.checkpoint->step());
    }
    write_file_durably((fs::path(folder->path()) / resolved_config_name).string(), to_yaml(plan.config));
  } catch (const RunError& error) {
    throw UserError("run.dir: {}", error.what());
  }
  return folder;
}

}  // namespace collie
