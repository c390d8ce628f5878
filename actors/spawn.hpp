// How each actor of a run is made. Internal to actors/ and its tests; hosts use actors/engine.hpp.
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

// Actors that compute or block have a thread of their own; tests spawn everything scheduled, because CAF's
// test coordinator cannot step a detached actor. Then ranks may not wait for each other in collectives: whole
// runs are of one rank.
enum class SpawnMode : uint8_t { detached, scheduled };

// Who a rank talks to.
struct Wiring {
  std::vector<caf::actor> ranks;  // [ranks]
  // [ranks], who takes what comes over the link or over NCCL; null for a rank to which neither brings
  // anything
  std::vector<caf::actor> receivers;
  std::vector<int> node_of_rank;  // [ranks]
  caf::actor trainer;
  std::vector<caf::actor> writers;  // [nodes] shard writers; empty where nothing is saved
  caf::actor directory;             // where ranks of different processes find each other; null with one node
  std::vector<caf::actor> link_ends;  // [ranks]; empty where tensors do not travel as messages
};

// A node has spawned its ranks.
struct NodeRanks {
  RunTag tag;
  int node = 0;
  caf::actor self;
  std::vector<caf::actor> ranks;      // ascending
  std::vector<caf::actor> receivers;  // theirs
  caf::actor writer;                  // null where nothing is saved
  std::vector<caf::actor> link_ends;  // as `ranks`; empty where tensors do not travel as messages
};

// What a node in another process must know to hold its ranks of a run.
struct NodeOrder {
  RunTag tag;
  int node = 0;
  std::vector<int> node_of_rank;       // [ranks]
  std::string plan;                    // of for_nodes() (run_plan.hpp)
  caf::actor trainer, writer;          // the trainer's process's
  std::vector<std::string> endpoints;  // [nodes] of RemoteNode
};

struct StageSpec {
  StageSettings settings;
  // Called on the stage's own thread, with everybody known; may take long and throw.
  std::function<std::unique_ptr<StageWorker>(const Wiring&)> make_worker;
  std::shared_ptr<Connections> connections;  // null: no other process, no NCCL
  // Synthetic seconds a task takes before it is executed (tests, benchmarks); empty: none.
  std::function<double(const Task&)> delay_s;
  std::shared_ptr<RankStatus> status;
  caf::actor owner;  // gets the Failure
};
caf::actor spawn_stage(caf::actor_system& system, SpawnMode mode, StageSpec spec);

// Works on the operations of one of the rank's queues on a thread of its own, one for each work_atom.
using QueueOf = std::shared_ptr<CollectiveQueue> RankGroups::*;
caf::actor spawn_reducer(caf::actor_system& system, std::shared_ptr<Connections> connections, QueueOf queue);

// Takes payloads from other processes off the link, and those from other GPUs off their pipes, on a thread of
// its own, and hands them to the stage.
struct ReceiverSpec {
  RunTag tag;
  int rank = 0;
  std::shared_ptr<Connections> connections;
  std::shared_ptr<MemoryAccount> account;  // the rank's
  caf::actor stage;
  caf::actor owner;  // gets the Failure
};
caf::actor spawn_receiver(caf::actor_system& system, ReceiverSpec spec);

// Spawns and wires the ranks of this process, watches them, and ends with them.
struct NodeSpec {
  RunTag tag;
  std::shared_ptr<const RunPlan> plan;
  int node = 0;
  std::vector<int> node_of_rank;  // [ranks]
  caf::actor trainer;
  caf::actor writer;                   // null where nothing is saved
  std::string interface;               // numeric address at which the other processes reach this one
  std::vector<std::string> endpoints;  // [nodes] of RemoteNode
  SpawnMode mode = SpawnMode::detached;
  ClusterSection cluster{};  // of this process, not the trainer's: its certificates and secret
};
caf::actor spawn_node(caf::actor_system& system, NodeSpec spec);

caf::actor spawn_loader(caf::actor_system& system, SpawnMode mode, RunTag tag,
                        std::shared_ptr<const RunPlan> plan, int replica, caf::actor trainer);
caf::actor spawn_evaluator(caf::actor_system& system, RunTag tag, std::shared_ptr<const RunPlan> plan,
                           caf::actor trainer);
caf::actor spawn_generator(caf::actor_system& system, RunTag tag, std::shared_ptr<const RunPlan> plan,
                           caf::actor trainer, caf::actor listener);
// Makes snapshots durable, of the shards that each node's shard writer has written.
caf::actor spawn_checkpoint_writer(caf::actor_system& system, SpawnMode mode, RunTag tag,
                                   std::shared_ptr<const RunPlan> plan, caf::actor trainer);
// `ranks`: of this node.
caf::actor spawn_shard_writer(caf::actor_system& system, SpawnMode mode, RunTag tag, int ranks,
                              caf::actor checkpoint_writer, caf::actor owner);
caf::actor spawn_monitor(caf::actor_system& system, SpawnMode mode, RunTag tag,
                         std::shared_ptr<const RunPlan> plan, caf::actor trainer);

// A process that offers to hold ranks.
struct RemoteNode {
  std::string address;  // "10.0.0.2:5001"
  caf::actor host;
  std::string
      endpoint;  // of endpoint_of(): where other nodes connect with it; empty where all are connected anyway
};

struct NodeHostSpec {
  std::string interface;  // numeric address at which the other processes reach this one
  ClusterSection cluster;
  std::shared_ptr<Occupation> occupation;  // null where the process is a job's, and so one run's
  caf::actor owner = {};                   // where there is one, it is told of the end
};

// A process's offer: spawns a node for every NodeOrder. (leave, exit code) ends it; the owner is told. A
// StopRequest or SaveRequest goes to the trainers whose ranks it holds; after a StopRequest it ends with the
// last of them.
caf::actor spawn_node_host(caf::actor_system& system, NodeHostSpec spec);

// The owner of all the others; `listener` gets the events. `nodes` hold the ranks; empty: this process does.
caf::actor spawn_trainer(caf::actor_system& system, std::shared_ptr<const RunPlan> plan, caf::actor listener,
                         SpawnMode mode, std::vector<RemoteNode> nodes = {});

}  // namespace collie
