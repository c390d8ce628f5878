// The door of a process that others connect with. Before a peer has proved who it is
// (net/peer_handshake.hpp, inside TLS where there are certificates) it costs one descriptor of a bounded
// number and a time-out, and nothing but the gate reads what it sends. A gate does not slow
// down a run, whatever strangers do: it uses a small share of one processor, measured, and strangers wait for
// the rest; a larger one while no run goes on, so that who belongs to the next one gets through between them.
#pragma once

#include <chrono>
#include <cstddef>
#include <functional>
#include <memory>
#include <string>
#include <thread>

#include "net/peer_channel.hpp"

namespace collie {

struct GateLimits {
  // Of peers that have not proved themselves; fewer where the process may open few files.
  size_t most_pending = 128;
  std::chrono::milliseconds handshake_timeout{3'000};
  // Where all places are taken, the peer that has come first gives its place to a new one, but not before it
  // has been there for so long: a peer that knows the secret needs a few milliseconds.
  std::chrono::milliseconds shortest_stay{150};
  // Of one processor, over seconds: while a run goes on, and otherwise.
  double quiet_share = 0.01, idle_share = 0.1;
};

class Gate {
 public:
  struct Admission {
    PeerVerdict verdict;
    std::shared_ptr<void> hold;  // kept as long as the peer is connected
  };
  // Who gets in. All are called on the gate's thread; `socket` is the peer's.
  struct Policy {
    std::function<Admission(const PeerRequest&, int socket)> admit;
    // Of a peer that has proved itself, and is of another version or was not admitted.
    std::function<void(const PeerRequest&, const std::string& why)> refused = [](const auto&, const auto&) {};
    // Whether a run goes on, for which everybody has come.
    std::function<bool()> quiet = [] { return false; };
  };
  using Enter = std::function<void(std::unique_ptr<PeerChannel>, std::shared_ptr<void> hold)>;

  // Listens at the address; a port of 0 is any free one. `what` names the address in messages. Throws
  // UserError: the port is in use, the machine has no such address, or it may not be used.
  Gate(const NodeAddress& address, const ClusterSection& cluster, const std::string& what, Policy policy,
       Enter enter, GateLimits limits = {});
  ~Gate();
  Gate(const Gate&) = delete;
  Gate& operator=(const Gate&) = delete;

  uint16_t port() const { return port_; }
  void close();  // nobody gets in any more; waits for a call of `enter`

 private:
  class Work;
  uint16_t port_ = 0;
  std::unique_ptr<Work> work_;
  std::thread thread_;
};

}  // namespace collie
