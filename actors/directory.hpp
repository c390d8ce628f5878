// The directory lets ranks of different processes find each other. It is a key store at the trainer, reached
// by messages.
#pragma once

#include <caf/actor.hpp>
#include <caf/fwd.hpp>
#include <memory>

#include "comm/key_store.hpp"

namespace collie {

// Holds keys and values until its owner ends it.
caf::actor spawn_directory(caf::actor_system& system);

// A rank's access to the directory. It blocks the calling thread. That thread must not run a handler of an
// actor that the directory needs for its answers.
std::unique_ptr<comm::KeyStore> open_directory(caf::actor_system& system, caf::actor directory);

}  // namespace collie
