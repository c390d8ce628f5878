// What a data-parallel replica computes in a training step.
#pragma once

#include <memory>

#include "actors/run_plan.hpp"

namespace collie {

// Of step `step` (from 1), with as many micro-batches as the schedule has in every step: an epoch's short
// last one ends with empty ones.
std::shared_ptr<const StepBatch> training_batch(const RunPlan& plan, int64_t step, int replica);

}  // namespace collie
