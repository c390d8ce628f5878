// The other side of a gate: how a process gets in.
#pragma once

#include <chrono>
#include <memory>
#include <string>

#include "base/error.hpp"
#include "net/peer_channel.hpp"

namespace collie {

constexpr std::chrono::seconds patience_at_gates{20};

// Nobody answers there, which may change.
class Unreachable : public UserError {
 public:
  using UserError::UserError;
};

// Connects with the gate at `address` and proves itself. Tries again, for `patience` altogether, where the
// gate is full or says that it may be free in a moment. `what` names the other side in messages: "node".
// Throws UserError: nobody listens there, it is no process of collie-engine, has another secret or version, a
// certificate of another authority or for another name, or does not want this process; Unreachable: none of
// these.
std::unique_ptr<PeerChannel> dial(const NodeAddress& address, const PeerCredentials& credentials,
                                  const PeerRequest& request, const std::string& what,
                                  std::chrono::milliseconds patience = patience_at_gates);

}  // namespace collie
