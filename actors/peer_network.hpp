// The source of CAF's connections: sockets whose other side has proved itself (net/gate.hpp, net/dial.hpp).
// CAF itself neither listens nor connects.
#pragma once

#include <caf/actor.hpp>
#include <caf/fwd.hpp>
#include <chrono>
#include <cstdint>
#include <memory>
#include <string>

#include "net/peer_channel.hpp"

namespace collie {

// For the listening side. The other side gets `published` as the answer to its connection; CAF knows that
// actor under `port`. `hold` lives as long as the connection.
void enter_listening(caf::actor_system& system, std::unique_ptr<PeerChannel> channel,
                     std::shared_ptr<void> hold, const caf::actor& published, uint16_t port);

// For the connecting side. Returns the actor that is published there. Returns null, and sets `why`, if the
// other side does not answer in time. If the two processes are connected already, that connection stays and
// the new one ends.
caf::actor enter_connecting(caf::actor_system& system, std::unique_ptr<PeerChannel> channel, uint16_t port,
                            std::chrono::milliseconds patience, std::string& why);

}  // namespace collie
