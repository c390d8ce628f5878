// The reducer actor of a rank's queue: sums gradients with the other ranks of its data group and gathers
// weights, or passes on keys and values in its context group, while the rank computes.
#include "actors/caf_types.hpp"

namespace collie {
namespace {

struct ReducerState {
  const char* name = "reducer";
};

// A failure reaches whoever waits for the operation, which is the rank, and through it the trainer.
caf::behavior reducer_behaviour(caf::stateful_actor<ReducerState>*, std::shared_ptr<Connections> connections,
                                QueueOf queue) {
  return {[=](work_atom) { (connections->groups().*queue)->run_next(); }};
}

}  // namespace

caf::actor spawn_reducer(caf::actor_system& system, std::shared_ptr<Connections> connections, QueueOf queue) {
  return system.spawn<caf::detached>(reducer_behaviour, std::move(connections), queue);
}

}  // namespace collie
