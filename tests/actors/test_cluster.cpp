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

caf::behavior answers(caf::event_based_actor*) {
  return {[](get_atom) { return 1; }};
}

bool is_answered(caf::actor_system& system, const caf::actor& actor) {
  caf::scoped_actor self(system);
  bool answered = false;
  self->request(actor, std::chrono::seconds(5), get_atom::value)
      .receive([&](int) { answered = true; }, [](const caf::error&) {});
  return answered;
}

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
  const caf::actor answering = there.spawn(answers);
  const LossyCable cable(publish(there, answering, {"127.0.0.1", 0}, {}, "test"));
  {
    caf::actor_system here(here_config);
    const caf::actor found = connect(here, {"127.0.0.1", cable.port()}, {}, "test", PeerKind::node, "");
    CHECK(cable.connections() == 2);
    CHECK(is_answered(here, found));
  }
  shut_down(answering);
}

// CAF takes a connection that it makes for one that has been silent for ever where its clock ticks, once a
// second, before the first answer.
TEST_CASE("a connection that is made while a heartbeat passes lasts", "[slow]") {
  NetworkConfig there_config;
  caf::actor_system there(there_config);
  const caf::actor answering = there.spawn(answers);
  const NodeAddress address{"127.0.0.1", publish(there, answering, {"127.0.0.1", 0}, {}, "test")};
  for (const int ms_before : {8, 4, 3, 2, 1, 0}) {
    NetworkConfig config;
    const auto made = std::chrono::steady_clock::now();
    caf::actor_system here(config);
    std::this_thread::sleep_until(made + std::chrono::milliseconds(1'000 - ms_before));
    const caf::actor found = connect(here, address, {}, "test", PeerKind::node, "");
    std::this_thread::sleep_for(std::chrono::milliseconds(500));
    CHECK(is_answered(here, found));
  }
  shut_down(answering);
}

TEST_CASE("connecting once more with a process that is connected changes nothing for either") {
  NetworkConfig there_config, here_config;
  caf::actor_system there(there_config);
  const caf::actor answering = there.spawn(answers);
  const NodeAddress address{"127.0.0.1", publish(there, answering, {"127.0.0.1", 0}, {}, "test")};
  {
    caf::actor_system here(here_config);
    const caf::actor first = connect(here, address, {}, "test", PeerKind::node, "");
    for (int i = 0; i < 20; ++i) {
      CHECK(connect(here, address, {}, "test", PeerKind::node, "") == first);
      CHECK(is_answered(here, first));
    }
  }
  shut_down(answering);
}
