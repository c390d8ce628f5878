// The reducer actor of a rank: sums its gradients with the other ranks of its data group, and gathers
// weights, while the rank computes.
#include "actors/caf_types.hpp"

namespace collie {
namespace {

struct ReducerState {
  const char* name = "reducer";
};

// A failure reaches whoever waits for the operation, which is the rank, and through it the trainer.
caf::behavior reducer_behaviour(caf::stateful_actor<ReducerState>*,
                                std::shared_ptr<Connections> connections) {
  return {[=](work_atom) { connections->groups().data_queue->run_next(); }};
}

}  // namespace

caf::actor spawn_reducer(caf::actor_system& system, std::shared_ptr<Connections> connections) {
  return system.spawn<caf::detached>(reducer_behaviour, std::move(connections));
}

}  // namespace collie
