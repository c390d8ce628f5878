// Sockets that listen at an address of this machine.
#pragma once

#include "base/descriptor.hpp"
#include "net/address.hpp"

namespace collie {

// Returns a socket that listens there, without blocking; the kernel keeps `backlog` connections until they
// are accepted. `what` names the address in messages. Throws UserError if the port is in use (the message
// says by whom, and which of the next ports is free), the machine has no such address, or the process may not
// use it.
Descriptor listen_at(const NodeAddress& address, const std::string& what, int backlog);

}  // namespace collie
