// What a run's plan means for one rank's worker.
#pragma once

#include "actors/model_worker.hpp"
#include "actors/run_plan.hpp"

namespace collie {

ActivationMemory activation_memory_of(const Config& config);

// `plan` outlives the worker's construction.
ModelWorkerSettings worker_settings(const RunPlan& plan, int rank, const RankGroups& groups);

}  // namespace collie
