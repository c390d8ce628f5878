// An actor system whose clock and scheduler the test holds in its hands. Included by files that include CAF
// anyway.
#pragma once

#include <caf/all.hpp>
#include <caf/scheduler/test_coordinator.hpp>
#include <chrono>
#include <stdexcept>

namespace collie::test {

class VirtualConfig : public caf::actor_system_config {
 public:
  VirtualConfig() { set("scheduler.policy", caf::atom("testing")); }
};

struct VirtualSystem {
  VirtualConfig config;
  caf::actor_system system{config};
  caf::scheduler::test_coordinator& coordinator =
      dynamic_cast<caf::scheduler::test_coordinator&>(system.scheduler());

  int64_t now_ns() {
    return std::chrono::duration_cast<std::chrono::nanoseconds>(coordinator.clock().now().time_since_epoch())
        .count();
  }
  // One message, or, where nobody has one, the next moment at which somebody gets one.
  void step() {
    if (!coordinator.try_run_once() && !coordinator.trigger_timeout())
      throw std::logic_error("everybody waits, and no time-out is pending");
  }
  // Until nobody has a message; the clock stands still.
  void run() { coordinator.run(); }
};

}  // namespace collie::test
