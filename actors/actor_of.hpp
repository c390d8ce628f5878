// Actors whose behaviour function takes only the actor. Only behaviour files include this file.
#pragma once

#include "actors/caf_types.hpp"

namespace collie {

// Use system.spawn<ActorOf<State, behaviour>>() in place of system.spawn(behaviour). With the latter, CAF
// 0.17 takes a reference to the arguments' tuple through a null pointer.
template <class State, caf::behavior (*make)(caf::stateful_actor<State>*)>
class ActorOf final : public caf::stateful_actor<State> {
 public:
  explicit ActorOf(caf::actor_config& config) : caf::stateful_actor<State>(config) {}
  caf::behavior make_behavior() override { return make(this); }
};

}  // namespace collie
