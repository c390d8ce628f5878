// The actor at a rank's end of a link over messages. It receives the messages of other ends while the rank
// computes or waits.
#pragma once

#include <caf/actor.hpp>
#include <caf/fwd.hpp>
#include <memory>
#include <vector>

#include "runtime/message_link.hpp"

namespace collie {

// Until the link is opened, messages of other ends wait in the actor's mailbox. The actor ends with its
// spawner.
caf::actor spawn_link_end(caf::actor_system& system);

// Opens the link between `ends` [ranks]; ends[options.rank] belongs to this rank. If an end or its process
// dies, every other end fails. The actor keeps the remains of the link until it ends itself.
std::shared_ptr<comm::ByteLink> open_message_link(const std::vector<caf::actor>& ends,
                                                  MessageLinkOptions options);

}  // namespace collie
