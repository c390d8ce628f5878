// What a resume compares with the run that it goes on with.
#pragma once

#include <string>
#include <vector>

#include "plan/run_plan.hpp"

namespace collie {

// A run whose configuration does not say what weight decay covers goes on as it was.
void keep_reach_of_decay(RunPlan& plan);

// Throws UserError naming the key if the plan computes something else than the run of plan.checkpoint did,
// but for `allowed_changes`, and if one of these is no key that changes what is computed.
void check_unchanged(const RunPlan& plan, const std::vector<std::string>& allowed_changes);

// The learning rate follows a curve to the run's last step. If that step changes, so does the rate, and a
// warning says so.
void warn_of_another_length(const RunPlan& plan);

}  // namespace collie
