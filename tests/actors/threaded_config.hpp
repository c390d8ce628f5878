// An actor system with threads, as the command has it. Included by files that include CAF anyway.
#pragma once

#include "actors/caf_types.hpp"
#include "actors/engine.hpp"
#include "tests/secret.hpp"

namespace collie::test {

struct ThreadedConfig : caf::actor_system_config {
  ThreadedConfig() {
    use_test_secret();
    collie::add_message_types(*this);
    set("scheduler.policy", caf::atom("sharing"));
    set("scheduler.max-threads", size_t{2});
  }
};

}  // namespace collie::test
