// The loader actor: computes the batch of a step when the trainer asks for it, which it does one step ahead;
// that one request is the loader's prefetch slot.
#include "actors/caf_types.hpp"
#include "actors/guard.hpp"

namespace collie {
namespace {

struct LoaderState {
  const char* name = "loader";
};
using LoaderActor = caf::stateful_actor<LoaderState>;

caf::behavior loader_behaviour(LoaderActor* self, RunTag tag, std::shared_ptr<const RunPlan> plan,
                               int replica, caf::actor trainer) {
  report_exceptions_to(self, trainer, tag, "loader of replica " + std::to_string(replica));
  StepSizes sizes = plan->sizes;
  sizes.dp_rank = replica;
  return {[=](batch_atom, int64_t step) {
    const int64_t position = position_before_step(*plan->order, sizes, step);
    StepBatch batch = make_step_batch(*plan->order, sizes, position);
    // Every step has the schedule's number of micro-batches; an epoch's short last one ends with empty ones.
    MicroBatch empty;
    empty.document_starts = {0};
    batch.micro_batches.resize(static_cast<size_t>(sizes.gradient_accumulation_steps), empty);
    self->send(trainer, BatchReady{tag, replica, std::make_shared<const StepBatch>(std::move(batch))});
  }};
}

}  // namespace

caf::actor spawn_loader(caf::actor_system& system, SpawnMode mode, RunTag tag,
                        std::shared_ptr<const RunPlan> plan, int replica, caf::actor trainer) {
  if (mode == SpawnMode::detached)
    return system.spawn<caf::detached>(loader_behaviour, tag, std::move(plan), replica, std::move(trainer));
  return system.spawn(loader_behaviour, tag, std::move(plan), replica, std::move(trainer));
}

}  // namespace collie
