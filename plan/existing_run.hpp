// What a run does about what stands in its folder already: decided and checked with the plan, before anything
// changes, and carried out when the run starts. Nothing that a run did not write is removed, and nothing that
// this run reads.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "plan/run_plan.hpp"

namespace collie {

// Sets plan.folder_seen (a plan that nothing will run of looks at nothing). Throws UserError where the folder
// cannot be the run's: it cannot be written to; it holds a run and plan.existing refuses one, or files that
// no run wrote where this one would write its own, or something that the run reads where it would write or
// remove.
void look_at_existing_run(RunPlan& plan);

// For a resume that has found no checkpoint: UserError unless the run was interrupted before its first.
void check_never_saved(const RunPlan& plan);

// UserError where files that the run did not write stand where it would write its own.
void check_nothing_foreign(const RunPlan& plan);

// UserError where plan.checkpoint lacks a parameter's weight or one of its `states`, or has one of another
// shape.
void check_checkpoint(const RunPlan& plan, const std::vector<std::string>& states);

// Makes the run folder ready, once, when the run is about to start: moves the run aside that is in it, or
// removes it, as the plan says, writes config.resolved.yaml, cuts metrics.jsonl back to the checkpoint
// (resume). Throws UserError naming run.dir; also where the folder is no longer as the plan has seen it.
std::shared_ptr<RunFolder> prepare_run_folder(const RunPlan& plan);

}  // namespace collie
