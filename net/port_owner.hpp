// Finds the process that listens at a port, for messages.
#pragma once

#include <cstdint>
#include <string>

namespace collie {

// Returns " by process 4711 (nginx)", or "" if the kernel does not tell because the process is another user's
// or in another container.
std::string port_owner(uint16_t port);

}  // namespace collie
