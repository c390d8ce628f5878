// The checkpoints that a run keeps (checkpoint.keep_last, keep_best), and what a resume finds of them.
#pragma once

#include <string>

#include "plan/run_plan.hpp"

namespace collie {

// The folder of the checkpoints of the run in run.dir.
std::string checkpoints_of(const Config& config);

// Whether a checkpoint is named, by its step or as the best.
bool is_chosen(const CheckpointChoice& from);

// Refuses a resume from a chosen checkpoint where there is no run. Throws UserError.
void check_chosen_run(const RunPlan& plan, const CheckpointChoice& from);

// Refuses checkpoint.keep_best for a training that evaluates nothing. Throws UserError.
void check_keep_best(const RunPlan& plan);

// For a resume: sets plan.evaluated. Losses on other data say nothing about which checkpoint is better, so
// checkpoints that were evaluated on other data do not count, and a warning says so.
void find_evaluated_checkpoints(RunPlan& plan);

// Warns of checkpoints that the run has kept as its best, and that checkpoint.keep_best no longer keeps.
void warn_of_best_that_go(const RunPlan& plan);

// For what comes after a training: warns if the run's model or tokenizer was another one than the
// configuration describes now, although plan.checkpoint has the same shapes. (A resume refuses that.)
void warn_of_another_model(const RunPlan& plan);

// For a resume from a chosen step: sets plan.later_checkpoints and plan.later_final.
void find_later_steps(RunPlan& plan);

}  // namespace collie
