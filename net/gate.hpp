// The gate is the listening endpoint of a process. A peer that has not proved its identity yet
// (net/peer_handshake.hpp, inside TLS if there are certificates) costs one descriptor of a bounded number and
// a time-out, and only the gate reads what it sends. Strangers cannot slow down a run through a gate: it uses
// a small, measured share of one processor, and strangers wait for the rest. While no run is active the share
// is larger, so that peers of the next run get through between the strangers.
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
  // The most peers that have not proved themselves. The number is lower if the process may open few files.
  size_t most_pending = 128;
  std::chrono::milliseconds handshake_timeout{3'000};
  // If all places are taken, the oldest peer gives its place to a new one, but only after it has been there
  // for this long. A peer that knows the secret needs a few milliseconds.
  std::chrono::milliseconds shortest_stay{150};
  // Shares of one processor, averaged over seconds: during a run, and otherwise.
  double quiet_share = 0.01, idle_share = 0.1;
};

class Gate {
 public:
  struct Admission {
    PeerVerdict verdict;
    std::shared_ptr<void> hold;  // kept as long as the peer is connected
  };
  // Decides which peers get in. All functions are called on the gate's thread; `socket` is the peer's.
  struct Policy {
    std::function<Admission(const PeerRequest&, int socket)> admit;
    // Called for a peer that has proved itself but has another version or was not admitted.
    std::function<void(const PeerRequest&, const std::string& why)> refused = [](const auto&, const auto&) {};
    // Whether a run is active and all its peers have joined.
    std::function<bool()> quiet = [] { return false; };
  };
  using Enter = std::function<void(std::unique_ptr<PeerChannel>, std::shared_ptr<void> hold)>;

  // Listens at the address; port 0 means any free port. `what` names the address in messages. Throws
  // UserError if the port is in use, the machine has no such address, or the process may not use it.
  Gate(const NodeAddress& address, const ClusterSection& cluster, const std::string& what, Policy policy,
       Enter enter, GateLimits limits = {});
  ~Gate();
  Gate(const Gate&) = delete;
  Gate& operator=(const Gate&) = delete;

  uint16_t port() const { return port_; }
  void close();  // admits no peer any more; waits for a running call of `enter`

 private:
  class Work;
  uint16_t port_ = 0;
  std::unique_ptr<Work> work_;
  std::thread thread_;
};

}  // namespace collie
