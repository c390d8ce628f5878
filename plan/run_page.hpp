// What a run's summary.html says (runtime/page/page.hpp).
#pragma once

#include "plan/run_plan.hpp"
#include "runtime/trainer_core.hpp"

namespace collie {

// Writes summary.html into the folder of a training that has begun, if the configuration wants it. A page
// that cannot be written is no failure of the run: a warning says so.
void write_run_page(const RunPlan& plan, const RunEnded& outcome, const TrainerCore& trainer);

}  // namespace collie
