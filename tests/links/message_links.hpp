// Links whose bytes travel as messages, all of whose ranks are threads of this process.
#pragma once

#include <caf/actor.hpp>
#include <vector>

#include "runtime/message_link.hpp"
#include "tests/comm/linked_groups.hpp"

namespace collie::test {

// A link's ends, with the actors that hear for them, which end with them.
struct MessageLinks {
  Links links;
  std::vector<caf::actor> ends;  // [ranks]
};

// Everybody in one actor system; `options` but for rank, size and addresses, which are "here".
MessageLinks make_local_message_links(int size, const MessageLinkOptions& options = {});

// An actor system per rank, which reach each other over TLS on the loopback interface. At most 8.
MessageLinks make_tls_message_links(int size, const MessageLinkOptions& options = {});

}  // namespace collie::test
