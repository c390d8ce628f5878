// One command on every node: which of them this process is, as a job manager's environment says.
#pragma once

#include <optional>

#include "actors/cluster.hpp"

namespace collie {

struct Launch {
  int rank = 0, size = 1;  // of the processes
  NodeAddress master;      // where process 0 listens
};

// From COLLIE_ENGINE_RANK, COLLIE_ENGINE_SIZE and COLLIE_ENGINE_MASTER (HOST:PORT), or, where MASTER_ADDR is
// set (with MASTER_PORT, else 29400), from SLURM_PROCID and SLURM_NTASKS or RANK and WORLD_SIZE. Nothing
// where the environment names no master or one process. Throws UserError where something is missing or is no
// number.
std::optional<Launch> launch_of_environment();

// The processes of a run that have met, and the actor at which they did, which lives as long as the run.
struct Gathering {
  std::vector<RemoteNode> nodes;
  caf::actor meeting;
};

// Process 0: listens at the master's address until all others have joined, itself the first node. Throws
// UserError where the address cannot be listened at, or somebody does not come in time or is of another
// version. `run` is the run's name.
Gathering gather_nodes(caf::actor_system& system, const Launch& launch, const ClusterSection& cluster,
                       const std::string& run);

// Process 0, when the run has ended: the others may go.
void dismiss(caf::actor_system& system, const Gathering& gathering);

// The others: a node of process 0's run; returns when that has ended: 0, or 1 where it was cut off. Throws
// UserError where process 0 cannot be reached in time.
int join(caf::actor_system& system, const Launch& launch, const ClusterSection& cluster);

}  // namespace collie
