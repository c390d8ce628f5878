// A rank's link to the ranks in other processes. It uses messages if tensors_are_messages()
// (actors/cluster.hpp), else Gloo.
#pragma once

#include <caf/fwd.hpp>
#include <memory>

#include "actors/spawn.hpp"
#include "comm/byte_link.hpp"

namespace collie {

// Blocks until all ranks of all processes have their links. Call it on the rank's own thread. Throws RunError
// if a process does not join in time or cannot be reached.
std::shared_ptr<comm::ByteLink> connect_rank(caf::actor_system& system, const NodeSpec& spec, int rank,
                                             const Wiring& wiring);

}  // namespace collie
