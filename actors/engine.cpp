#include "actors/engine.hpp"

#include "actors/cluster.hpp"
#include "actors/spawn.hpp"
#include "plan/existing_run.hpp"
#include "plan/start_adapter.hpp"
#include "runtime/sinks/sink.hpp"

namespace collie {

caf::actor spawn_run(caf::actor_system& system, RunPlan plan, caf::actor listener) {
  auto nodes = connect_nodes(system, plan.config.cluster, plan.layout.grid.ranks(), plan.config.run.name);
  return spawn_run(system, std::move(plan), std::move(listener), std::move(nodes));
}

caf::actor spawn_run(caf::actor_system& system, RunPlan plan, caf::actor listener,
                     std::vector<RemoteNode> nodes) {
  check_nodes(plan.layout.grid.ranks(), nodes.size());
  if (plan.purpose == Purpose::train) {
    check_start_of_sinks(plan.config);
    plan.folder = prepare_run_folder(plan);
    make_start_adapter(plan);
  }
  return spawn_trainer(system, std::make_shared<const RunPlan>(std::move(plan)), std::move(listener),
                       SpawnMode::detached, std::move(nodes));
}

}  // namespace collie
