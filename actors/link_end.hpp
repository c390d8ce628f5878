// The actor at a rank's end of a link over messages: it hears what other ends say while the rank computes or
// waits.
#pragma once

#include <caf/actor.hpp>
#include <caf/fwd.hpp>
#include <memory>
#include <vector>

#include "runtime/message_link.hpp"

namespace collie {

// Until the link is opened, what other ends say waits in the actor's mailbox. Ends with whoever spawned it.
caf::actor spawn_link_end(caf::actor_system& system);

// The link that `ends` [ranks] join, of which ends[options.rank] is this rank's. Its death, or that of its
// process, is every other end's failure. The actor keeps
// the link's remains until it ends itself.
std::shared_ptr<comm::ByteLink> open_message_link(const std::vector<caf::actor>& ends,
                                                  MessageLinkOptions options);

}  // namespace collie
