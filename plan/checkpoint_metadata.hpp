// What a checkpoint says beside its slices (Manifest::metadata).
#pragma once

#include <nlohmann/json.hpp>
#include <vector>

#include "optim/parameter_groups.hpp"
#include "plan/run_plan.hpp"
#include "runtime/messages.hpp"

namespace collie {

// position, steps_without_targets, total_steps, ranks; skipped_steps, callbacks: where there are any; maths:
// what a resume compares; memory: what each group of parameters remembers (UpdateMemory); averages:
// Checkpoint::read_evaluated(), where there are any; evaluation: the step's (io/evaluated_checkpoints.hpp),
// if it was evaluated.
nlohmann::json checkpoint_metadata(const RunPlan& plan, const SnapshotExpected& expected);

// The memory that a checkpoint has for these groups. Throws UserError if it is that of other groups.
std::vector<UpdateMemory> memory_of(const Checkpoint& checkpoint, const ParameterGroups& optimizers);

}  // namespace collie
