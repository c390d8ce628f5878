// Where ranks of different processes find each other: a key store at the trainer, reached by messages.
#pragma once

#include <caf/actor.hpp>
#include <caf/fwd.hpp>
#include <memory>

#include "comm/key_store.hpp"

namespace collie {

// Holds keys and values until its owner ends it.
caf::actor spawn_directory(caf::actor_system& system);

// A rank's way to it; blocks the calling thread, which must not be an actor's handler that the directory's
// answers need.
std::unique_ptr<comm::KeyStore> open_directory(caf::actor_system& system, caf::actor directory);

}  // namespace collie
