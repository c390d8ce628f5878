#include "actors/training_batch.hpp"

namespace collie {

std::shared_ptr<const StepBatch> training_batch(const RunPlan& plan, int64_t step, int replica) {
  StepSizes sizes = plan.sizes;
  sizes.dp_rank = replica;
  StepBatch batch = make_step_batch(*plan.order, sizes, plan.origin, step);
  MicroBatch empty;
  empty.document_starts = {0};
  batch.micro_batches.resize(static_cast<size_t>(sizes.gradient_accumulation_steps), empty);
  return std::make_shared<const StepBatch>(std::move(batch));
}

}  // namespace collie
