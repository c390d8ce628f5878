// The node actor spawns the ranks of its process, watches them, and ends with them.
#include <fmt/format.h>

#include <algorithm>
#include <chrono>

#include "actors/caf_types.hpp"
#include "actors/cluster.hpp"
#include "actors/guard.hpp"
#include "actors/link_end.hpp"
#include "actors/rank_link.hpp"
#include "base/clock.hpp"
#include "plan/settings.hpp"
#include "runtime/group_transport.hpp"
#include "runtime/stage_transport.hpp"
#include "runtime/stall.hpp"

namespace collie {
namespace {

// A rank of this process.
struct LocalRank {
  int rank = 0;
  caf::actor stage;
  caf::actor data_reducer, context_reducer;  // null if the rank would be alone
  caf::actor receiver;                       // null if nothing comes to it beside messages
  caf::actor link_end;                       // null if tensors do not travel as messages
  std::shared_ptr<RankStatus> status;
  std::shared_ptr<Connections> connections;
};

struct NodeState {
  const char* name = "node";
  NodeSpec spec;
  std::vector<LocalRank> ranks;
  caf::actor writer;
  bool shutting_down = false;
  size_t alive = 0;
};
using NodeActor = caf::stateful_actor<NodeState>;

// Called on the rank's own thread. Makes its link to the other processes, if there are any, and the groups
// over that link.
void connect(caf::actor_system& system, const NodeSpec& spec, int rank, const Wiring& wiring,
             Connections& connections) {
  if (!wiring.directory) return;
  connections.set_link(connect_rank(system, spec, rank, wiring));
  RankGroups groups = connections.groups();
  add_linked_groups(spec.plan->layout.grid,
                    static_cast<int>(spec.plan->model.architecture.num_key_value_heads), rank,
                    connections.link(), std::make_shared<MemoryAccount>(), groups);
  connections.set_groups(std::move(groups));
}

// Ranks are placed in ascending order.
bool spans_processes(const NodeSpec& spec) {
  return spec.node_of_rank.front() != spec.node_of_rank.back();
}

// A process knows only of its own GPUs. So if any process may have one, all take part in the choice.
void carry_tensors(const NodeSpec& spec, int rank, const Operations& operations, Connections& connections) {
  const DeviceChoice device = device_of(*spec.plan);
  const bool has_gpu = device.kind != DeviceKind::cpu;
  if (!has_gpu && (!spans_processes(spec) || spec.plan->config.device.kind == "cpu")) return;
  std::optional<RankGpu> gpu;
  if (has_gpu) gpu.emplace(RankGpu{gpu_of(device, rank), operations});
  RankGroups groups = connections.groups();
  const auto publish = [&](const RankGroups& chosen) { connections.set_groups(chosen); };
  const RankProcess process{spec.node, tensors_are_messages(spec.plan->config.cluster)};
  choose_group_transport(gpu, process, BackgroundQueues::beside, groups, publish);
  const Layout& layout = spec.plan->layout;
  if (groups.pipeline)
    choose_stage_transport(gpu, process, stage_edges(layout, spec.plan->purpose == Purpose::train),
                           layout.grid.pipeline_group(rank), groups, publish);
}

// Whether tensors of other stages may arrive outside the message that announces them.
bool needs_receiver(const NodeSpec& spec, int rank) {
  const DeviceChoice device = device_of(*spec.plan);
  return spec.plan->layout.grid.pipeline_group(rank).size() > 1 &&
         (spans_processes(spec) || (device.kind != DeviceKind::cpu && device.gpus > 1));
}

std::function<void()> teller_of(const caf::actor& reducer) {
  return [reducer] { caf::anon_send(reducer, work_atom::value); };
}

// Called on the rank's own thread, once it is connected.
std::unique_ptr<StageWorker> make_worker(const NodeSpec& spec, int rank,
                                         const std::shared_ptr<MemoryAccount>& account,
                                         Connections& connections, const caf::actor& data_reducer,
                                         const caf::actor& context_reducer) {
  const RunPlan& plan = *spec.plan;
  auto operations = operations_of(plan, rank)(plan.threads_per_rank, account);
  carry_tensors(spec, rank, *operations, connections);
  RankGroups groups = connections.groups();
  add_queues(teller_of(data_reducer), teller_of(context_reducer), groups);
  connections.set_groups(groups);
  ModelWorkerSettings settings = worker_settings(plan, rank, groups);
  settings.account = account;
  settings.make_operations = [&](int, const std::shared_ptr<MemoryAccount>&) {
    return std::move(operations);
  };
  return std::make_unique<ModelWorker>(std::move(settings));
}

void spawn_rank(NodeActor* self, int rank, RankGroups groups) {
  NodeState& state = self->state;
  const RunPlan& plan = *state.spec.plan;
  LocalRank& local = state.ranks.emplace_back();
  local.rank = rank;
  local.status = std::make_shared<RankStatus>();
  local.connections = std::make_shared<Connections>(std::move(groups));
  const auto reducer_of = [&](QueueOf queue) {
    return spawn_reducer(self->system(), local.connections, queue);
  };
  if (plan.layout.grid.data_ranks() > 1) local.data_reducer = reducer_of(&RankGroups::data_queue);
  if (plan.layout.grid.context > 1) local.context_reducer = reducer_of(&RankGroups::context_queue);
  if (spans_processes(state.spec) && tensors_are_messages(plan.config.cluster))
    local.link_end = spawn_link_end(self->system());
  StageSpec spec;
  spec.settings = {state.spec.tag,
                   rank,
                   plan.layout.rank_of_stage,
                   plan.credits,
                   plan.config.monitor.trace,
                   plan.layout.grid.pipeline_group(rank),
                   plan.layout.grid.place_of(rank).tensor == 0};
  const auto account = std::make_shared<MemoryAccount>();
  if (plan.on_account) plan.on_account(account);
  spec.make_worker = [account, system = &self->system(), node = state.spec, rank,
                      data_reducer = local.data_reducer, context_reducer = local.context_reducer,
                      connections = local.connections](const Wiring& wiring) {
    connect(*system, node, rank, wiring, *connections);
    return make_worker(node, rank, account, *connections, data_reducer, context_reducer);
  };
  spec.connections = local.connections;
  spec.status = local.status;
  spec.owner = caf::actor_cast<caf::actor>(self);
  local.stage = spawn_stage(self->system(), state.spec.mode, std::move(spec));
  self->monitor(local.stage);
  if (needs_receiver(state.spec, rank))
    local.receiver = spawn_receiver(self->system(), {state.spec.tag, rank, local.connections, account,
                                                     local.stage, caf::actor_cast<caf::actor>(self)});
  ++state.alive;
}

void spawn_ranks(NodeActor* self) {
  NodeState& state = self->state;
  const RunPlan& plan = *state.spec.plan;
  auto groups =
      make_local_groups(plan.layout.grid, static_cast<int>(plan.model.architecture.num_key_value_heads),
                        state.spec.node_of_rank, state.spec.node, device_of(plan));
  NodeRanks here{state.spec.tag, state.spec.node, caf::actor_cast<caf::actor>(self), {}, {}, {}, {}};
  for (int rank = 0; rank < plan.layout.grid.ranks(); ++rank) {
    if (state.spec.node_of_rank[static_cast<size_t>(rank)] != state.spec.node) continue;
    spawn_rank(self, rank, std::move(groups[static_cast<size_t>(rank)]));
    here.ranks.push_back(state.ranks.back().stage);
    here.receivers.push_back(state.ranks.back().receiver);
    if (state.ranks.back().link_end) here.link_ends.push_back(state.ranks.back().link_end);
  }
  if (state.spec.writer) {
    state.writer = spawn_shard_writer(self->system(), state.spec.mode, state.spec.tag,
                                      static_cast<int>(state.ranks.size()), state.spec.writer,
                                      caf::actor_cast<caf::actor>(self));
    here.writer = state.writer;
  }
  self->send(state.spec.trainer, std::move(here));
}

void end_all(const std::vector<LocalRank>& ranks, const caf::actor& writer, const std::string& cause) {
  // A rank that is blocked in a collective reads no messages until its wait is cancelled.
  if (!cause.empty())
    for (const LocalRank& local : ranks) local.connections->abort(cause);
  for (const LocalRank& local : ranks) {
    shut_down(local.stage);
    shut_down(local.data_reducer);
    shut_down(local.context_reducer);
    shut_down(local.receiver);
    shut_down(local.link_end);
  }
  shut_down(writer);
}

void shut_down_ranks(NodeActor* self, const std::string& cause) {
  NodeState& state = self->state;
  if (state.shutting_down) return;
  state.shutting_down = true;
  end_all(state.ranks, state.writer, cause);
  if (state.alive == 0) self->quit(caf::exit_reason::user_shutdown);
}

// First all ranks get the request, whatever they are doing. Only then does cut() abort their communication.
void give_up(NodeActor* self, uint64_t program) {
  const RunTag& tag = self->state.spec.tag;
  for (const LocalRank& local : self->state.ranks) {
    local.connections->give_up(program);
    self->send<caf::message_priority::high>(local.stage, GiveUp{tag, program});
  }
  self->send(self->state.spec.trainer, RanksTold{tag, self->state.spec.node});
}

void cut(NodeActor* self) {
  for (const LocalRank& local : self->state.ranks) local.connections->abort("the program is given up");
}

void fail(NodeActor* self, const std::string& who, const std::string& cause) {
  self->send<caf::message_priority::high>(self->state.spec.trainer,
                                          Failure{self->state.spec.tag, FailureKind::run, who, cause});
}

void somebody_is_down(NodeActor* self, const caf::down_msg& down) {
  NodeState& state = self->state;
  if (down.source == state.spec.trainer.address()) return shut_down_ranks(self, "the trainer is gone");
  --state.alive;
  if (!state.shutting_down) {
    const auto found = std::find_if(state.ranks.begin(), state.ranks.end(), [&](const LocalRank& local) {
      return local.stage.address() == down.source;
    });
    fail(self, fmt::format("rank {}", found->rank), "ended: " + self->system().render(down.reason));
  }
  if (state.shutting_down && state.alive == 0) self->quit(caf::exit_reason::user_shutdown);
}

// A pipe may fail at this end alone while nobody here uses it. Another rank then hangs on its device, and
// this rank may wait for that rank's messages.
void check_pipes(NodeActor* self, const LocalRank& local) {
  const StagePipes pipes = local.connections->groups().pipes;
  try {
    for (const auto* const ends : {&pipes.to, &pipes.from})
      for (const auto& [rank, pipe] : *ends) pipe->check();
  } catch (const std::exception& error) {
    fail(self, fmt::format("rank {}", local.rank), error.what());
  }
}

void watch(NodeActor* self) {
  NodeState& state = self->state;
  if (state.shutting_down) return;
  for (const LocalRank& local : state.ranks) check_pipes(self, local);
  std::vector<RankStatus::Snapshot> snapshots;
  std::vector<int> ranks;
  for (const LocalRank& local : state.ranks) {
    snapshots.push_back(local.status->get());
    ranks.push_back(local.rank);
  }
  const double timeout_s = state.spec.plan->config.run.stall_timeout_s;
  if (const auto stall = describe_stall(snapshots, steady_seconds(), timeout_s, ranks))
    fail(self, stall->who, stall->cause);
  self->delayed_send(self, watch_interval(timeout_s), tick_atom::value);
}

caf::behavior node_behaviour(NodeActor* self, NodeSpec spec) {
  report_exceptions_to(self, spec.trainer, spec.tag, "node");
  self->state.spec = std::move(spec);
  self->set_down_handler([=](const caf::down_msg& down) { somebody_is_down(self, down); });
  self->set_exit_handler([=](const caf::exit_msg&) { shut_down_ranks(self, "the node was told to end"); });
  self->monitor(self->state.spec.trainer);
  try {
    spawn_ranks(self);
  } catch (...) {
    end_all(self->state.ranks, self->state.writer, "the node has ended");
    throw;
  }
  // However the node ends, even by an exception, its ranks end with it.
  self->attach_functor([ranks = self->state.ranks, writer = self->state.writer] {
    end_all(ranks, writer, "the node has ended");
  });
  watch(self);
  return {
      [=](const Failure& failure) {
        self->send<caf::message_priority::high>(self->state.spec.trainer, failure);
      },
      [=](shutdown_atom, const std::string& cause) { shut_down_ranks(self, cause); },
      [=](const GiveUp& message) {
        if (message.tag == self->state.spec.tag) give_up(self, message.program);
      },
      [=](const CutCommunication& message) {
        if (message.tag == self->state.spec.tag) cut(self);
      },
      [=](tick_atom) { watch(self); },
  };
}

}  // namespace

caf::actor spawn_node(caf::actor_system& system, NodeSpec spec) {
  return system.spawn(node_behaviour, std::move(spec));
}

}  // namespace collie
