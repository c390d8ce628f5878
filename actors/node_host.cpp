// The node host: what a process offers to trainers elsewhere. For every order it spawns a node, which ends
// with its run.
#include <algorithm>

#include "actors/caf_types.hpp"
#include "actors/guard.hpp"
#include "base/log.hpp"

namespace collie {
namespace {

struct HostState {
  const char* name = "node_host";
  NodeHostSpec spec;
  struct Node {
    caf::actor actor;
    Occupation::Hold hold;  // so that no other run comes before its ranks have ended
  };
  std::vector<Node> nodes;
};
using HostActor = caf::stateful_actor<HostState>;

void start(HostActor* self, const NodeOrder& order) {
  HostState& state = self->state;
  const auto ranks = std::count(order.node_of_rank.begin(), order.node_of_rank.end(), order.node);
  try {
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
    spec.doors = order.doors;
    state.nodes.push_back({spawn_node(self->system(), std::move(spec)),
                           state.spec.occupation ? state.spec.occupation->current() : nullptr});
    self->monitor(state.nodes.back().actor);
  } catch (...) {
    self->send<caf::message_priority::high>(order.trainer, current_failure(order.tag, "node"));
  }
}

caf::behavior host_behaviour(HostActor* self, NodeHostSpec spec) {
  self->state.spec = std::move(spec);
  self->set_down_handler([=](const caf::down_msg& down) {
    auto& nodes = self->state.nodes;
    nodes.erase(
        std::remove_if(nodes.begin(), nodes.end(),
                       [&](const HostState::Node& node) { return node.actor.address() == down.source; }),
        nodes.end());
    log::info("the run has ended");
  });
  self->set_exit_handler([=](const caf::exit_msg&) {
    for (const auto& node : self->state.nodes) shut_down(node.actor);
    self->quit(caf::exit_reason::user_shutdown);
  });
  return {
      [=](leave_atom) { self->quit(caf::exit_reason::user_shutdown); },
      [=](const NodeOrder& order) { start(self, order); },
  };
}

}  // namespace

caf::actor spawn_node_host(caf::actor_system& system, NodeHostSpec spec) {
  return system.spawn(host_behaviour, std::move(spec));
}

}  // namespace collie
