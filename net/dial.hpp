// The client side of a gate: how a process connects.
#pragma once

#include <chrono>
#include <memory>
#include <string>

#include "base/error.hpp"
#include "net/peer_channel.hpp"

namespace collie {

constexpr std::chrono::seconds patience_at_gates{20};

// No process answers there now, but one may later.
class Unreachable : public UserError {
 public:
  using UserError::UserError;
};

// Connects with the gate at `address` and proves itself. It retries for at most `patience` in total if the
// gate is full or says that it may be free in a moment. `what` names the other side in messages: "node".
// Throws UserError if the other side is no process of collie-engine, has another secret or version, has a
// certificate of another authority or for another name, or refuses this process. Throws Unreachable if nobody
// listens there, or if no answer comes in time.
std::unique_ptr<PeerChannel> dial(const NodeAddress& address, const PeerCredentials& credentials,
                                  const PeerRequest& request, const std::string& what,
                                  std::chrono::milliseconds patience = patience_at_gates);

}  // namespace collie
