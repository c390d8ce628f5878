// The loader actor computes the batch of a step when the trainer asks for it. The trainer asks one step
// ahead, and that one request is the loader's prefetch slot.
#include "actors/caf_types.hpp"
#include "actors/guard.hpp"
#include "plan/settings.hpp"

namespace collie {
namespace {

struct LoaderState {
  const char* name = "loader";
};
using LoaderActor = caf::stateful_actor<LoaderState>;

caf::behavior loader_behaviour(LoaderActor* self, RunTag tag, std::shared_ptr<const RunPlan> plan,
                               int replica, caf::actor trainer) {
  report_exceptions_to(self, trainer, tag, "loader of replica " + std::to_string(replica));
  return {[=](const BatchWanted& wanted) {
    if (!(wanted.tag == tag)) return;
    self->send(trainer, BatchReady{tag, replica, training_batch(*plan, wanted.step, replica)});
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
