// Connections between processes.
#include "actors/cluster.hpp"

#include <chrono>
#include <thread>

#include "actors/guard.hpp"
#include "tests/actors/threaded_config.hpp"
#include "tests/catch.hpp"

using namespace collie;
using namespace collie::test;

namespace {

struct NetworkConfig : ThreadedConfig {
  NetworkConfig() { add_cluster_support(*this, {}); }
};

}  // namespace

// CAF closes a connection of which nothing was heard yet when its clock ticks, once a second.
TEST_CASE("a connection that is made while a heartbeat passes lasts", "[slow]") {
  NetworkConfig there_config;
  caf::actor_system there(there_config);
  const caf::actor host = spawn_node_host(there, "127.0.0.1");
  const NodeAddress address{"127.0.0.1", publish(there, host, {"127.0.0.1", 0}, {}, "test")};
  for (const int ms_before : {8, 4, 3, 2, 1, 0}) {
    NetworkConfig config;
    const auto made = std::chrono::steady_clock::now();
    caf::actor_system here(config);
    std::this_thread::sleep_until(made + std::chrono::milliseconds(1'000 - ms_before));
    const caf::actor found = connect_node(here, address, {});
    std::this_thread::sleep_for(std::chrono::milliseconds(500));
    caf::scoped_actor self(here);
    bool answered = false;
    self->request(found, std::chrono::seconds(5), greet_atom::value)
        .receive([&](const NodeGreeting&) { answered = true; }, [](const caf::error&) {});
    CHECK(answered);
  }
  shut_down(host);
}
