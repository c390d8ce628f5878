// Where CAF gets its connections from: sockets whose other side has proved itself (net/gate.hpp,
// net/dial.hpp). CAF itself neither listens nor connects.
#pragma once

#include <caf/actor.hpp>
#include <caf/fwd.hpp>
#include <chrono>
#include <cstdint>
#include <memory>
#include <string>

#include "net/peer_channel.hpp"

namespace collie {

// On the side that listens: the other side gets `published` as the answer to its connection; `port` is what
// CAF knows that under. `hold` lives as long as the connection.
void enter_listening(caf::actor_system& system, std::unique_ptr<PeerChannel> channel,
                     std::shared_ptr<void> hold, const caf::actor& published, uint16_t port);

// On the side that connects: the actor that is published there; null where the other side does not say in
// time, and `why`. Where the two processes are connected already, that connection stays, and the new one
// ends.
caf::actor enter_connecting(caf::actor_system& system, std::unique_ptr<PeerChannel> channel, uint16_t port,
                            std::chrono::milliseconds patience, std::string& why);

}  // namespace collie
