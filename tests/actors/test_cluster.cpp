// Connections between processes.
#include "actors/cluster.hpp"

#include <arpa/inet.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
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

// Passes bytes on between whoever connects with it and a port of this host. Of the first connection it lets
// through what the other side says first, and then nothing in either direction: a connection that is made and
// lost.
class LossyCable {
 public:
  explicit LossyCable(uint16_t to) : to_(to) {
    sockaddr_in own = address_of(0);
    socklen_t size = sizeof own;
    REQUIRE(::bind(listening_, reinterpret_cast<sockaddr*>(&own), size) == 0);
    REQUIRE(::listen(listening_, 8) == 0);
    REQUIRE(::getsockname(listening_, reinterpret_cast<sockaddr*>(&own), &size) == 0);
    port_ = ntohs(own.sin_port);
    thread_ = std::thread([this] { serve(); });
  }
  ~LossyCable() {
    ::shutdown(listening_, SHUT_RDWR);
    thread_.join();
    ::close(listening_);
  }
  LossyCable(const LossyCable&) = delete;
  LossyCable& operator=(const LossyCable&) = delete;

  uint16_t port() const { return port_; }
  int connections() const { return connections_; }

 private:
  static sockaddr_in address_of(uint16_t port) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    address.sin_port = htons(port);
    return address;
  }

  void serve() {
    std::vector<std::thread> lines;
    for (int near = 0; (near = ::accept(listening_, nullptr, nullptr)) >= 0;) {
      const bool loses = connections_++ == 0;
      lines.emplace_back([this, near, loses] { join_ends(near, loses); });
    }
    for (auto& line : lines) line.join();
  }

  // Until one of the two ends.
  void join_ends(int near, bool loses) const {
    const int far = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    const sockaddr_in to = address_of(to_);
    bool lost = ::connect(far, reinterpret_cast<const sockaddr*>(&to), sizeof to) != 0;
    for (bool over = lost; !over;) {
      pollfd ends[] = {{near, POLLIN, 0}, {far, POLLIN, 0}};
      ::poll(ends, 2, -1);
      for (const int from : {0, 1}) {
        if (ends[from].revents == 0) continue;
        char bytes[4096];
        const ssize_t count = ::recv(ends[from].fd, bytes, sizeof bytes, 0);
        over = over || count <= 0;
        if (!over && !lost)
          over = ::send(ends[1 - from].fd, bytes, static_cast<size_t>(count), MSG_NOSIGNAL) != count;
        lost = lost || (loses && from == 1);
      }
    }
    ::close(near);
    ::close(far);
  }

  const uint16_t to_;
  uint16_t port_ = 0;
  const int listening_ = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  std::atomic<int> connections_{0};
  std::thread thread_;
};

}  // namespace

TEST_CASE("a connection with a node that is lost as soon as it is made is made again", "[slow]") {
  NetworkConfig there_config, here_config;
  caf::actor_system there(there_config);
  const caf::actor host = spawn_node_host(there, "127.0.0.1");
  const LossyCable cable(publish(there, host, {"127.0.0.1", 0}, {}, "test"));
  {
    caf::actor_system here(here_config);
    const caf::actor found = connect_node(here, {"127.0.0.1", cable.port()}, {});
    CHECK(cable.connections() == 2);
    caf::scoped_actor self(here);
    bool answered = false;
    self->request(found, std::chrono::seconds(5), greet_atom::value)
        .receive([&](const NodeGreeting&) { answered = true; }, [](const caf::error&) {});
    CHECK(answered);
  }
  shut_down(host);
}

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
