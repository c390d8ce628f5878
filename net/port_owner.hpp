// Which process listens at a port, for messages.
#pragma once

#include <cstdint>
#include <string>

namespace collie {

// " by process 4711 (nginx)"; "" where the kernel does not say: it is another user's, or in another
// container.
std::string port_owner(uint16_t port);

}  // namespace collie
