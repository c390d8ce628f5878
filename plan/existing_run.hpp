// The treatment of files that are already in a run's folder. The plan decides and checks it before anything
// changes, and the start of the run carries it out. It never removes a file that no run wrote, or a file that
// this run reads.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "plan/run_plan.hpp"

namespace collie {

// Sets plan.folder_seen. It reads nothing if nothing will run from the plan. Throws UserError if the folder
// cannot be the run's: it is not writable, or it holds a run and plan.existing refuses one. It may also hold
// files that no run wrote at a place where this run would write, or files that this run reads and would
// overwrite or remove.
void look_at_existing_run(RunPlan& plan);

// For a resume that has found no checkpoint. Throws UserError unless the run was interrupted before its first
// checkpoint.
void check_never_saved(const RunPlan& plan);

// Throws UserError if files that the run did not write are at a place where it would write its own.
void check_nothing_foreign(const RunPlan& plan);

// Throws UserError if plan.checkpoint lacks a parameter's weight or, for a training, one of its optimizer's
// states, or has one of another shape.
void check_checkpoint(const RunPlan& plan);

// What the start of the run sets aside: "the checkpoints of steps 40, 60, final/"; "" if nothing.
std::string later_steps(const RunPlan& plan);

// Prepares the run folder, once, when the run is about to start. It moves aside or removes the run in the
// folder, or sets its later steps aside, as the plan says, and writes config.resolved.yaml. For a resume it
// cuts the sinks' outputs, such as metrics.jsonl, back to the checkpoint. Throws UserError naming run.dir,
// also if the folder has changed since the plan read it.
std::shared_ptr<RunFolder> prepare_run_folder(const RunPlan& plan);

}  // namespace collie
