// One command on every node: which of them this process is, as a job manager's environment says.
#pragma once

#include <caf/scoped_actor.hpp>
#include <functional>
#include <optional>

#include "actors/cluster.hpp"

namespace collie {

struct Launch {
  int rank = 0, size = 1;  // of the processes
  NodeAddress master;      // where process 0 listens
};

// From COLLIE_ENGINE_RANK, COLLIE_ENGINE_SIZE and COLLIE_ENGINE_MASTER (HOST:PORT), or, where MASTER_ADDR is
// set (with MASTER_PORT, else 29400), from SLURM_PROCID and SLURM_NTASKS or RANK and WORLD_SIZE. Nothing
// where the environment names no job, or one process. What a shell of a Slurm allocation has set, or
// MASTER_ADDR alone, names no job. Throws UserError where one is named and something is missing or is no
// number.
std::optional<Launch> launch_of_environment();

// What somebody outside asks of this process.
enum class Wish : uint8_t { none, save, end };
using Wishes = std::function<Wish()>;  // what has been asked for since the last call

// The processes of a run that have met, and the actor at which they did, which lives as long as the run.
struct Gathering {
  std::vector<RemoteNode> nodes;
  caf::actor rendezvous;
  bool interrupted = false;  // somebody asked one of them to end, before all had come
};

// Process 0: listens at the master's address until all others have joined, itself the first node, or `wishes`
// or one of the others says that the run is to end. Later wishes of the others come to `self`, as StopRequest
// and SaveRequest. Throws UserError where the address cannot be listened at, or somebody does not come in
// time or is of another version. `run` is the run's name.
Gathering gather_nodes(caf::scoped_actor& self, const Launch& launch, const ClusterSection& cluster,
                       const std::string& run, const Wishes& wishes);

// Process 0, when the run has ended: the others may go, with this exit code.
void dismiss(caf::actor_system& system, const Gathering& gathering, int exit_code);

// The others: a node of process 0's run, which is told what `wishes` says; returns when that has ended: its
// exit code, or 1 where it was cut off. `hold` is called when the process is about to join, and gives the
// wishes. Throws UserError where process 0 cannot be reached in time.
int join(caf::actor_system& system, const Launch& launch, const ClusterSection& cluster,
         const std::function<Wishes()>& hold);

}  // namespace collie
