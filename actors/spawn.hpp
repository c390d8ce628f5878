// How each actor of a run is made. Internal to actors/ and its tests; hosts use actors/engine.hpp.
#pragma once

#include <caf/actor.hpp>
#include <caf/fwd.hpp>
#include <functional>
#include <memory>
#include <vector>

#include "actors/messages.hpp"
#include "actors/rank_status.hpp"
#include "actors/run_plan.hpp"
#include "actors/stage_core.hpp"
#include "comm/collective_queue.hpp"

namespace collie {

// Actors that compute or block have a thread of their own; tests spawn everything scheduled, because CAF's
// test coordinator cannot step a detached actor.
enum class SpawnMode : uint8_t { detached, scheduled };

// Who a rank talks to.
struct Wiring {
  std::vector<caf::actor> ranks;  // [ranks]
  caf::actor trainer, writer;
};

struct StageSpec {
  StageSettings settings;
  // Called on the stage's own thread; may take long and throw.
  std::function<std::unique_ptr<StageWorker>()> make_worker;
  // Synthetic seconds a task takes before it is executed (tests, benchmarks); empty: none.
  std::function<double(const Task&)> delay_s;
  std::shared_ptr<RankStatus> status;
  caf::actor owner;  // gets the Failure
};
caf::actor spawn_stage(caf::actor_system& system, SpawnMode mode, StageSpec spec);

// Works on the queue's operations on a thread of its own, one for each work_atom.
caf::actor spawn_reducer(caf::actor_system& system, std::shared_ptr<CollectiveQueue> queue);

// Spawns and wires the ranks of this process, watches them, and ends with them.
struct NodeSpec {
  RunTag tag;
  std::shared_ptr<const RunPlan> plan;
  caf::actor trainer, writer;
  SpawnMode mode = SpawnMode::detached;
};
caf::actor spawn_node(caf::actor_system& system, NodeSpec spec);

caf::actor spawn_loader(caf::actor_system& system, SpawnMode mode, RunTag tag,
                        std::shared_ptr<const RunPlan> plan, int replica, caf::actor trainer);
caf::actor spawn_evaluator(caf::actor_system& system, RunTag tag, std::shared_ptr<const RunPlan> plan,
                           caf::actor trainer);
caf::actor spawn_generator(caf::actor_system& system, RunTag tag, std::shared_ptr<const RunPlan> plan,
                           caf::actor trainer, caf::actor listener);
caf::actor spawn_checkpoint_writer(caf::actor_system& system, SpawnMode mode, RunTag tag,
                                   std::shared_ptr<const RunPlan> plan, caf::actor trainer);
caf::actor spawn_monitor(caf::actor_system& system, SpawnMode mode, RunTag tag,
                         std::shared_ptr<const RunPlan> plan, caf::actor trainer);

// The owner of all the others; `listener` gets the events.
caf::actor spawn_trainer(caf::actor_system& system, std::shared_ptr<const RunPlan> plan, caf::actor listener,
                         SpawnMode mode);

}  // namespace collie
