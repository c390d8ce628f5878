// Derives from a run's plan the settings of the trainer's core and of one rank's worker, and a replica's
// batch in a step.
#pragma once

#include <memory>

#include "plan/run_plan.hpp"
#include "runtime/model_worker.hpp"
#include "runtime/trainer_core.hpp"

namespace collie {

Cadence cadence_of(const RunPlan& plan);
// Whether a training run, from its start to its last step, has any evaluation.
bool evaluates(const RunPlan& plan);
// Whether it writes a checkpoint before its last step begins.
bool saves_before_the_end(const RunPlan& plan);
StepPasses passes_of(const Config& config);

// The gradients of a fused update where a step has several micro-batches: they stand whole, and no layer's is
// freed before the last micro-batch.
struct WholeGradients {
  int64_t bytes = 0;  // a trained parameter; 0: there are none, or nothing is fused
  int64_t micro_batches = 0;
  int shared_by = 1;          // ranks, each of which has a part
  std::string words() const;  // one line for people; "" where bytes is 0
};
WholeGradients whole_gradients(const RunPlan& plan);

TrainerSettings trainer_settings(const RunPlan& plan, const RunTag& tag);

ActivationMemory activation_memory_of(const Config& config);
// `plan` must outlive the worker's construction.
ModelWorkerSettings worker_settings(const RunPlan& plan, int rank, const RankGroups& groups);

// Returns the batch of a data-parallel replica in step `step` (from 1). It has as many micro-batches as the
// schedule has in every step; the short last step of an epoch ends with empty ones.
std::shared_ptr<const StepBatch> training_batch(const RunPlan& plan, int64_t step, int replica);

}  // namespace collie
