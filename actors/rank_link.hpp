// A rank's link to the ranks in other processes: over Gloo, or as messages where the cluster has certificates
// (actors/cluster.hpp).
#pragma once

#include <caf/fwd.hpp>
#include <memory>

#include "actors/spawn.hpp"
#include "comm/byte_link.hpp"

namespace collie {

// Blocks until all ranks of all processes have their links; to be called on the rank's own thread. RunError:
// a process did not come in time or cannot be reached.
std::shared_ptr<comm::ByteLink> connect_rank(caf::actor_system& system, const NodeSpec& spec, int rank,
                                             const Wiring& wiring);

}  // namespace collie
