// What a run's plan means for those who carry it out: settings of the trainer's core and of one rank's
// worker, and what a replica computes in a step.
#pragma once

#include <memory>

#include "plan/run_plan.hpp"
#include "runtime/model_worker.hpp"
#include "runtime/trainer_core.hpp"

namespace collie {

Cadence cadence_of(const RunPlan& plan);
TrainerSettings trainer_settings(const RunPlan& plan, const RunTag& tag);

ActivationMemory activation_memory_of(const Config& config);
// `plan` outlives the worker's construction.
ModelWorkerSettings worker_settings(const RunPlan& plan, int rank, const RankGroups& groups);

// What a data-parallel replica computes in step `step` (from 1), with as many micro-batches as the schedule
// has in every step: an epoch's short last one ends with empty ones.
std::shared_ptr<const StepBatch> training_batch(const RunPlan& plan, int64_t step, int replica);

}  // namespace collie
