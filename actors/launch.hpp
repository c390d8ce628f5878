// The same command runs on every node. A job manager's environment tells each process its rank.
#pragma once

#include <caf/scoped_actor.hpp>
#include <functional>
#include <optional>

#include "actors/cluster.hpp"

namespace collie {

struct Launch {
  int rank = 0, size = 1;  // rank of this process, and number of processes
  NodeAddress master;      // where process 0 listens
};

// Reads COLLIE_ENGINE_RANK, COLLIE_ENGINE_SIZE and COLLIE_ENGINE_MASTER (HOST:PORT). If MASTER_ADDR is set
// (with MASTER_PORT, else 29400), it reads SLURM_PROCID and SLURM_NTASKS, or RANK and WORLD_SIZE. Returns
// nothing if the environment names no job, or a job of one process. The variables in the shell of a Slurm
// allocation name no job, and neither does MASTER_ADDR alone. Throws UserError if a job is named and a value
// is missing or is not a number.
std::optional<Launch> launch_of_environment();

// A request to this process from outside.
enum class Wish : uint8_t { none, save, end };
using Wishes = std::function<Wish()>;  // returns the request since the last call

// The processes of a run after their rendezvous, and the rendezvous actor, which lives as long as the run.
struct Gathering {
  std::vector<RemoteNode> nodes;
  caf::actor rendezvous;
  bool interrupted = false;  // one process was asked to end before all had joined
};

// For process 0. Listens at the master's address until all other processes have joined; process 0 is the
// first node. It returns earlier if `wishes` or another process says that the run is to end. Later wishes of
// the others reach `self` as StopRequest and SaveRequest. Throws UserError if it cannot listen at the
// address, or if a process does not join in time or has another version. `run` is the run's name.
Gathering gather_nodes(caf::scoped_actor& self, const Launch& launch, const ClusterSection& cluster,
                       const std::string& run, const Wishes& wishes);

// For process 0, after the run has ended. Releases the other processes with this exit code.
void dismiss(caf::actor_system& system, const Gathering& gathering, int exit_code);

// For the other processes. Makes this process a node of process 0's run and passes on the `wishes`. Returns
// when the run has ended: its exit code. If this process was cut off, it returns 130 after a wish to end,
// else 1. `hold` is called when the process is about to join, and returns the wishes. Throws UserError if
// process 0 cannot be reached in time.
int join(caf::actor_system& system, const Launch& launch, const ClusterSection& cluster,
         const std::function<Wishes()>& hold);

}  // namespace collie
