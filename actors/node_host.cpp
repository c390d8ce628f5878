// The node host offers this process to trainers in other processes. It spawns a node for every order, and the
// node ends with its run.
#include <algorithm>

#include "actors/caf_types.hpp"
#include "actors/cluster.hpp"
#include "actors/guard.hpp"
#include "base/log.hpp"
#include "plan/process_room.hpp"

namespace collie {
namespace {

struct HostState {
  const char* name = "node_host";
  NodeHostSpec spec;
  struct Run {
    caf::actor node, trainer;
    Occupation::Hold hold;  // keeps other runs away until its ranks have ended
  };
  std::vector<Run> runs;
  bool leaving = false;  // the process ends with the last run
};
using HostActor = caf::stateful_actor<HostState>;

void start(HostActor* self, const NodeOrder& order) {
  HostState& state = self->state;
  const auto ranks = std::count(order.node_of_rank.begin(), order.node_of_rank.end(), order.node);
  try {
    if (state.leaving) throw RunError("was told to end and takes no more runs");
    auto plan = std::make_shared<const RunPlan>(plan_of_node(order.plan, static_cast<int>(ranks)));
    log::info("holds {} of {} ranks of the run '{}'", ranks, order.node_of_rank.size(),
              plan->config.run.name);
    NodeSpec spec;
    spec.tag = order.tag;
    spec.plan = std::move(plan);
    spec.node = order.node;
    spec.node_of_rank = order.node_of_rank;
    spec.trainer = order.trainer;
    spec.writer = order.writer;
    spec.interface = state.spec.interface;
    spec.cluster = state.spec.cluster;
    spec.endpoints = order.endpoints;
    check_room(room_of_ranks(
        *spec.plan, spec.node_of_rank, spec.node,
        tensors_are_messages(spec.plan->config.cluster) ? RankLinks::messages : RankLinks::gloo));
    const caf::actor node = spawn_node(self->system(), std::move(spec));
    self->monitor(node);
    state.runs.push_back(
        {node, order.trainer, state.spec.occupation ? state.spec.occupation->current() : nullptr});
  } catch (...) {
    self->send<caf::message_priority::high>(order.trainer, current_failure(order.tag, "node"));
  }
}

// Every run whose ranks are here stops with a checkpoint. After that this process ends.
void leave_with_runs(HostActor* self, const StopRequest& request) {
  self->state.leaving = true;
  for (const auto& run : self->state.runs) self->send(run.trainer, request);
  if (self->state.runs.empty()) self->quit(caf::exit_reason::user_shutdown);
}

caf::behavior host_behaviour(HostActor* self, NodeHostSpec spec) {
  self->state.spec = std::move(spec);
  self->set_down_handler([=](const caf::down_msg& down) {
    auto& runs = self->state.runs;
    std::erase_if(runs, [&](const auto& run) { return run.node.address() == down.source; });
    log::info("the run has ended");
    if (self->state.leaving && runs.empty()) self->quit(caf::exit_reason::user_shutdown);
  });
  self->set_exit_handler([=](const caf::exit_msg&) {
    for (const auto& run : self->state.runs) shut_down(run.node);
    self->quit(caf::exit_reason::user_shutdown);
  });
  return {
      [=](leave_atom, int exit_code) {
        if (self->state.spec.owner) self->send(self->state.spec.owner, leave_atom::value, exit_code);
        self->quit(caf::exit_reason::user_shutdown);
      },
      [=](const StopRequest& request) { leave_with_runs(self, request); },
      [=](const SaveRequest& request) {
        for (const auto& run : self->state.runs) self->send(run.trainer, request);
      },
      [=](const NodeOrder& order) { start(self, order); },
  };
}

}  // namespace

caf::actor spawn_node_host(caf::actor_system& system, NodeHostSpec spec) {
  return system.spawn(host_behaviour, std::move(spec));
}

}  // namespace collie
