// The reducer actor drives one of a rank's queues while the rank computes. It reduces gradients with the
// other ranks of the data group and gathers weights, or passes keys and values on in the context group.
#include "actors/caf_types.hpp"

namespace collie {
namespace {

struct ReducerState {
  const char* name = "reducer";
};

// A failure reaches the rank, which waits for the operation, and through it the trainer.
caf::behavior reducer_behaviour(caf::stateful_actor<ReducerState>*, std::shared_ptr<Connections> connections,
                                QueueOf queue) {
  return {[=](work_atom) { (connections->groups().*queue)->run_next(); }};
}

}  // namespace

caf::actor spawn_reducer(caf::actor_system& system, std::shared_ptr<Connections> connections, QueueOf queue) {
  return system.spawn<caf::detached>(reducer_behaviour, std::move(connections), queue);
}

}  // namespace collie
