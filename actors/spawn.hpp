// The functions that make each actor of a run. They are internal to actors/ and its tests; hosts use
// actors/engine.hpp.
#pragma once

#include <caf/actor.hpp>
#include <caf/fwd.hpp>
#include <functional>
#include <memory>
#include <vector>

#include "net/occupation.hpp"
#include "plan/run_plan.hpp"
#include "runtime/messages.hpp"
#include "runtime/rank_groups.hpp"
#include "runtime/rank_status.hpp"
#include "runtime/stage_core.hpp"

namespace collie {

// In detached mode, actors that compute or block have their own thread. Tests spawn everything scheduled,
// because CAF's test coordinator cannot step a detached actor. Scheduled ranks must not wait for each other
// in collectives, so whole runs in that mode have one rank.
enum class SpawnMode : uint8_t { detached, scheduled };

// The actors that a rank sends messages to.
struct Wiring {
  RunTag tag;
  std::vector<caf::actor> ranks;  // [ranks]
  // [ranks]; a receiver takes the tensors off the link or NCCL. It is null for a rank to which neither brings
  // anything.
  std::vector<caf::actor> receivers;
  std::vector<int> node_of_rank;  // [ranks]
  caf::actor trainer;
  std::vector<caf::actor> writers;    // [nodes] shard writers; empty if nothing is saved
  caf::actor directory;               // lets ranks of different processes find each other; null with one node
  std::vector<caf::actor> link_ends;  // [ranks]; empty if tensors do not travel as messages
};

// A node sends this after it has spawned its ranks.
struct NodeRanks {
  RunTag tag;
  int node = 0;
  caf::actor self;
  std::vector<caf::actor> ranks;      // in ascending order
  std::vector<caf::actor> receivers;  // of those ranks
  caf::actor writer;                  // null if nothing is saved
  std::vector<caf::actor> link_ends;  // one per rank; empty if tensors do not travel as messages
};

// The data that a node in another process needs to hold its ranks of a run.
struct NodeOrder {
  RunTag tag;
  int node = 0;
  std::vector<int> node_of_rank;       // [ranks]
  std::string plan;                    // result of for_nodes() (run_plan.hpp)
  caf::actor trainer, writer;          // actors of the trainer's process
  std::vector<std::string> endpoints;  // [nodes], see RemoteNode
};

struct StageSpec {
  StageSettings settings;
  // Called on the stage's own thread, when the wiring is complete. It may take long and may throw.
  std::function<std::unique_ptr<StageWorker>(const Wiring&)> make_worker;
  std::shared_ptr<Connections> connections;  // null: one process and no NCCL
  // Synthetic seconds that a task takes before it is executed (tests, benchmarks). Empty: no delay.
  std::function<double(const Task&)> delay_s;
  std::shared_ptr<RankStatus> status;
  caf::actor owner;  // receives the Failure
};
caf::actor spawn_stage(caf::actor_system& system, SpawnMode mode, StageSpec spec);

// Executes the operations of one of the rank's queues on its own thread, one operation per work_atom.
using QueueOf = std::shared_ptr<CollectiveQueue> RankGroups::*;
caf::actor spawn_reducer(caf::actor_system& system, std::shared_ptr<Connections> connections, QueueOf queue);

// The receiver takes payloads from other processes off the link, and payloads from other GPUs off their
// pipes. It has its own thread and passes the payloads to the stage.
struct ReceiverSpec {
  RunTag tag;
  int rank = 0;
  std::shared_ptr<Connections> connections;
  std::shared_ptr<MemoryAccount> account;  // the rank's account
  caf::actor stage;
  caf::actor owner;  // receives the Failure
};
caf::actor spawn_receiver(caf::actor_system& system, ReceiverSpec spec);

// The node spawns and wires the ranks of this process, watches them, and ends with them.
struct NodeSpec {
  RunTag tag;
  std::shared_ptr<const RunPlan> plan;
  int node = 0;
  std::vector<int> node_of_rank;  // [ranks]
  caf::actor trainer;
  caf::actor writer;                   // null if nothing is saved
  std::string interface;               // numeric address at which other processes reach this one
  std::vector<std::string> endpoints;  // [nodes], see RemoteNode
  SpawnMode mode = SpawnMode::detached;
  // This process's section, not the trainer's: it has its own certificates and secret.
  ClusterSection cluster{};
};
caf::actor spawn_node(caf::actor_system& system, NodeSpec spec);

caf::actor spawn_loader(caf::actor_system& system, SpawnMode mode, RunTag tag,
                        std::shared_ptr<const RunPlan> plan, int replica, caf::actor trainer);
caf::actor spawn_evaluator(caf::actor_system& system, RunTag tag, std::shared_ptr<const RunPlan> plan,
                           caf::actor trainer);
caf::actor spawn_generator(caf::actor_system& system, RunTag tag, std::shared_ptr<const RunPlan> plan,
                           caf::actor trainer, caf::actor listener);
// Makes snapshots durable from the shards that each node's shard writer has written.
caf::actor spawn_checkpoint_writer(caf::actor_system& system, SpawnMode mode, RunTag tag,
                                   std::shared_ptr<const RunPlan> plan, caf::actor trainer);
// `ranks`: the number of ranks on this node.
caf::actor spawn_shard_writer(caf::actor_system& system, SpawnMode mode, RunTag tag, int ranks,
                              caf::actor checkpoint_writer, caf::actor owner);
caf::actor spawn_monitor(caf::actor_system& system, SpawnMode mode, RunTag tag,
                         std::shared_ptr<const RunPlan> plan, caf::actor trainer);

// A process that offers to hold ranks.
struct RemoteNode {
  std::string address;  // "10.0.0.2:5001"
  caf::actor host;
  // Result of endpoint_of(): other nodes connect with the process there. Empty if all are connected anyway.
  std::string endpoint;
};

struct NodeHostSpec {
  std::string interface;  // numeric address at which other processes reach this one
  ClusterSection cluster;
  std::shared_ptr<Occupation> occupation;  // null if the process belongs to a job, and so to one run
  caf::actor owner = {};                   // if set, it is told of the end
};

// A process's node host spawns a node for every NodeOrder. (leave, exit code) ends it, and it tells the
// owner. It passes a StopRequest or SaveRequest to the trainers whose ranks it holds. After a StopRequest it
// ends with the last of them.
caf::actor spawn_node_host(caf::actor_system& system, NodeHostSpec spec);

// The trainer owns all other actors; `listener` receives the events. `nodes` hold the ranks; if it is empty,
// this process does.
caf::actor spawn_trainer(caf::actor_system& system, std::shared_ptr<const RunPlan> plan, caf::actor listener,
                         SpawnMode mode, std::vector<RemoteNode> nodes = {});

}  // namespace collie
