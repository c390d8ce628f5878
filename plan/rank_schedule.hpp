// When a run with AdaLoRA chooses ranks (optim/rank_allocation.hpp).
#pragma once

#include <optional>

#include "optim/rank_allocation.hpp"
#include "plan/run_plan.hpp"

namespace collie {

// Of a training whose ranks are chosen; else none. The plan's total_steps must be known.
std::optional<RankSchedule> rank_schedule_of(const RunPlan& plan);

// Throws UserError where the run cannot choose ranks as its configuration says, which names key and value.
void check_rank_schedule(const RunPlan& plan);

}  // namespace collie
