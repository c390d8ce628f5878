// The node actor: spawns the ranks of this process, watches them, and ends with them.
#include <fmt/format.h>

#include <algorithm>
#include <chrono>

#include "actors/caf_types.hpp"
#include "actors/guard.hpp"
#include "actors/stall.hpp"
#include "actors/worker_settings.hpp"

namespace collie {
namespace {

struct NodeState {
  const char* name = "node";
  NodeSpec spec;
  std::vector<caf::actor> ranks;
  std::vector<std::shared_ptr<RankStatus>> statuses;
  std::vector<RankGroups> groups;    // [ranks]
  std::vector<caf::actor> reducers;  // of the ranks that share their data with others
  bool shutting_down = false;
  size_t alive = 0;
};
using NodeActor = caf::stateful_actor<NodeState>;

// The rank's queue of gradient reductions and weight gathers, and the reducer that works on it.
void add_reducer(NodeActor* self, int rank) {
  NodeState& state = self->state;
  RankGroups& groups = state.groups[static_cast<size_t>(rank)];
  if (!groups.data) return;
  const auto reducer = std::make_shared<caf::actor>();
  groups.data_queue = std::make_shared<CollectiveQueue>(
      groups.data, max_collectives_in_flight, [reducer] { caf::anon_send(*reducer, work_atom::value); });
  *reducer = spawn_reducer(self->system(), groups.data_queue);
  state.reducers.push_back(*reducer);
}

void spawn_ranks(NodeActor* self) {
  NodeState& state = self->state;
  const RunPlan& plan = *state.spec.plan;
  state.groups = make_rank_groups(plan.layout.grid, static_cast<int>(plan.model.num_key_value_heads));
  for (int rank = 0; rank < plan.layout.grid.ranks(); ++rank) {
    add_reducer(self, rank);
    StageSpec spec;
    spec.settings = {state.spec.tag,
                     rank,
                     plan.layout.rank_of_stage,
                     plan.credits,
                     plan.config.monitor.trace,
                     plan.layout.grid.pipeline_group(rank),
                     plan.layout.grid.place_of(rank).tensor == 0};
    spec.make_worker = [plan_ptr = state.spec.plan, rank, groups = state.groups[static_cast<size_t>(rank)]] {
      return std::make_unique<ModelWorker>(worker_settings(*plan_ptr, rank, groups));
    };
    spec.status = std::make_shared<RankStatus>();
    spec.owner = caf::actor_cast<caf::actor>(self);
    state.statuses.push_back(spec.status);
    state.ranks.push_back(spawn_stage(self->system(), state.spec.mode, std::move(spec)));
    self->monitor(state.ranks.back());
    ++state.alive;
  }
  const Wiring wiring{state.ranks, state.spec.trainer, state.spec.writer};
  self->send(state.spec.trainer, wiring);  // before any rank can be ready
  for (const auto& rank : state.ranks) self->send(rank, wiring);
}

void shut_down_ranks(NodeActor* self, const std::string& cause) {
  NodeState& state = self->state;
  if (state.shutting_down) return;
  state.shutting_down = true;
  // A rank that is blocked in a collective reads no mail until its wait is cancelled.
  if (!cause.empty())
    for (const auto& groups : state.groups) groups.abort(cause);
  for (const auto& rank : state.ranks) shut_down(rank);
  for (const auto& reducer : state.reducers) shut_down(reducer);
  if (state.alive == 0) self->quit(caf::exit_reason::user_shutdown);
}

void rank_is_down(NodeActor* self, const caf::down_msg& down) {
  NodeState& state = self->state;
  --state.alive;
  if (!state.shutting_down) {
    const auto found = std::find_if(state.ranks.begin(), state.ranks.end(),
                                    [&](const caf::actor& rank) { return rank.address() == down.source; });
    self->send<caf::message_priority::high>(
        state.spec.trainer,
        Failure{state.spec.tag, FailureKind::run, fmt::format("rank {}", found - state.ranks.begin()),
                "ended: " + self->system().render(down.reason)});
  }
  if (state.shutting_down && state.alive == 0) self->quit(caf::exit_reason::user_shutdown);
}

void watch(NodeActor* self) {
  NodeState& state = self->state;
  if (state.shutting_down) return;
  std::vector<RankStatus::Snapshot> snapshots;
  for (const auto& status : state.statuses) snapshots.push_back(status->get());
  const double timeout_s = state.spec.plan->config.run.stall_timeout_s;
  if (const auto stall = describe_stall(snapshots, steady_seconds(), timeout_s))
    self->send<caf::message_priority::high>(
        state.spec.trainer, Failure{state.spec.tag, FailureKind::run, stall->who, stall->cause});
  self->delayed_send(self, watch_interval(timeout_s), tick_atom::value);
}

caf::behavior node_behaviour(NodeActor* self, NodeSpec spec) {
  report_exceptions_to(self, spec.trainer, spec.tag, "node");
  self->state.spec = std::move(spec);
  self->set_down_handler([=](const caf::down_msg& down) { rank_is_down(self, down); });
  self->set_exit_handler([=](const caf::exit_msg&) { shut_down_ranks(self, "the node was told to end"); });
  spawn_ranks(self);
  // However the node ends, by an exception too, its ranks do not outlive it.
  self->attach_functor(
      [ranks = self->state.ranks, reducers = self->state.reducers, all = self->state.groups] {
        for (const auto& groups : all) groups.abort("the node has ended");
        for (const auto& rank : ranks) shut_down(rank);
        for (const auto& reducer : reducers) shut_down(reducer);
      });
  watch(self);
  return {
      [=](const Failure& failure) {
        self->send<caf::message_priority::high>(self->state.spec.trainer, failure);
      },
      [=](shutdown_atom, const std::string& cause) { shut_down_ranks(self, cause); },
      [=](tick_atom) { watch(self); },
  };
}

}  // namespace

caf::actor spawn_node(caf::actor_system& system, NodeSpec spec) {
  return system.spawn(node_behaviour, std::move(spec));
}

}  // namespace collie
