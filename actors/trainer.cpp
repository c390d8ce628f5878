// The trainer actor owns all other actors of a run. It passes their messages to trainer_core and the core's
// decisions to them.
#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "actors/caf_types.hpp"
#include "actors/cluster.hpp"
#include "actors/directory.hpp"
#include "actors/engine.hpp"
#include "actors/guard.hpp"
#include "base/clock.hpp"
#include "base/log.hpp"
#include "plan/device_peak.hpp"
#include "plan/evaluation_sets.hpp"
#include "plan/run_page.hpp"
#include "plan/settings.hpp"
#include "runtime/stall.hpp"
#include "runtime/summary.hpp"
#include "runtime/trainer_core.hpp"

namespace collie {
namespace {

// The time that the other actors have to end before the run's end is announced without them.
constexpr auto shutdown_grace = std::chrono::seconds(4);

class CafTrainerOutbox;

struct TrainerState {
  const char* name = "trainer";
  std::shared_ptr<const RunPlan> plan;
  caf::actor listener;
  SpawnMode mode = SpawnMode::detached;
  RunTag tag;
  std::unique_ptr<CafTrainerOutbox> outbox;
  std::unique_ptr<TrainerCore> core;
  caf::actor evaluator, generator, writer, monitor, directory;
  std::vector<RemoteNode> remote_nodes;  // empty: one node in this process
  std::vector<int> node_of_rank;         // [ranks]
  std::map<int, NodeRanks> nodes;        // nodes that have spawned their ranks
  std::set<int> told;                    // nodes whose ranks know the program to give up
  std::vector<caf::actor> loaders;       // [replicas]
  std::vector<caf::actor> children;
  std::map<std::string, caf::actor> requesters;  // who asked last under this name
  std::optional<RunEnded> outcome;
  std::string waiting_for;  // what the run waits for outside the ranks, and since when
  double waiting_since_s = 0;
};
using TrainerActor = caf::stateful_actor<TrainerState>;

bool is_node(const TrainerState& state, const caf::actor& child) {
  return std::any_of(state.nodes.begin(), state.nodes.end(),
                     [&](const auto& node) { return node.second.self == child; });
}

class CafTrainerOutbox final : public TrainerOutbox {
 public:
  explicit CafTrainerOutbox(TrainerActor* self) : self_(self) {}

  double now_s() override { return steady_seconds(); }
  std::optional<ProcessUse> process_use() override { return process_.look(); }
  void request_batch(int64_t step) override {
    for (const auto& loader : state().loaders) self_->send(loader, BatchWanted{state().tag, step});
  }
  void broadcast(ProgramPtr program) override;
  void give_up(uint64_t program) override {
    for (const auto& [index, node] : state().nodes) self_->send(node.self, GiveUp{state().tag, program});
  }
  void cut() override {
    for (const auto& [index, node] : state().nodes) self_->send(node.self, CutCommunication{state().tag});
  }
  void evaluate(int64_t step) override {
    self_->send(state().evaluator, EvaluationWanted{state().tag, step});
  }
  void generate() override { self_->send(state().generator, GenerationWanted{state().tag}); }
  void answer(const ProgramReply& reply) override {
    self_->send(state().requesters.at(reply.request.requester), reply);
  }
  void expect_snapshot(const SnapshotExpected& expected) override { self_->send(state().writer, expected); }
  void record(const StepFinished& step) override {
    self_->send(state().monitor, step);
    if (!step.amended) self_->send(state().listener, step);  // the listener already has an amended step
  }
  void trace(const ProgramDone& done) override { self_->send(state().monitor, done); }
  void announce(const EvaluationFinished& evaluation) override { self_->send(state().listener, evaluation); }
  void announce(const CheckpointSaved& checkpoint) override { self_->send(state().listener, checkpoint); }
  void warn(const std::string& what) override { log::warn("{}", what); }
  void end(RunEnded outcome) override;

  std::vector<caf::actor> ranks;

 private:
  TrainerState& state() { return self_->state; }
  template <class Message>
  void to_ranks(const Message& message) {
    for (const auto& rank : ranks) self_->send(rank, message);
  }
  TrainerActor* self_;
  ProcessWatch process_;
};

// Sends the last message to the listener and then ends the trainer.
void announce_end(TrainerActor* self) {
  TrainerState& state = self->state;
  if (!state.outcome) return;
  state.outcome->actors_left = !state.children.empty();
  self->send(state.listener, *std::exchange(state.outcome, std::nullopt));
  self->quit(caf::exit_reason::user_shutdown);
}

// A rank in another process gets only its own data: its list, and its replica's batch.
ProgramPtr share_of_rank(const Program& program, const Grid& grid, int rank) {
  auto share = std::make_shared<Program>(program);
  const GridPlace place = grid.place_of(rank);
  if (program.lists) {
    TaskLists lists(program.lists->size());
    lists[static_cast<size_t>(place.pipeline)] = (*program.lists)[static_cast<size_t>(place.pipeline)];
    share->lists = std::make_shared<const TaskLists>(std::move(lists));
  }
  for (size_t replica = 0; replica < share->batches.size(); ++replica)
    if (replica != static_cast<size_t>(place.data)) share->batches[replica] = nullptr;
  return share;
}

void CafTrainerOutbox::broadcast(ProgramPtr program) {
  if (state().remote_nodes.empty()) return to_ranks(ProgramMessage{std::move(program)});
  for (size_t rank = 0; rank < ranks.size(); ++rank)
    self_->send(ranks[rank],
                ProgramMessage{share_of_rank(*program, state().plan->layout.grid, static_cast<int>(rank))});
}

void CafTrainerOutbox::end(RunEnded outcome) {
  outcome.summary = describe_run(state().plan->layout, state().core->summaries(),
                                 state().core->busy_seconds(), state().core->running_seconds());
  write_run_page(*state().plan, outcome, *state().core);
  // Some of the working ranks may wait for others that end.
  const std::string cause = outcome.status == RunStatus::failed ? outcome.message
                            : state().core->ranks_at_work()     ? "the run ends"
                                                                : "";
  state().outcome = std::move(outcome);
  if (state().children.empty()) return announce_end(self_);
  for (const auto& [index, node] : state().nodes)
    self_->send<caf::message_priority::high>(node.self, shutdown_atom::value, cause);
  for (const auto& child : state().children)
    if (!is_node(state(), child)) shut_down(child);
  self_->delayed_send(self_, shutdown_grace, shutdown_atom::value);
}

caf::actor adopt(TrainerActor* self, caf::actor child) {
  self->monitor(child);
  self->state.children.push_back(child);
  return child;
}

// Example: "node 10.0.0.2:5001 (ranks 4 to 7)".
std::string describe_node(const TrainerState& state, int node) {
  std::vector<int> ranks;
  for (size_t rank = 0; rank < state.node_of_rank.size(); ++rank)
    if (state.node_of_rank[rank] == node) ranks.push_back(static_cast<int>(rank));
  return fmt::format("node {} (ranks {} to {})", state.remote_nodes[static_cast<size_t>(node)].address,
                     ranks.front(), ranks.back());
}

// Ends the run if a node's process is down; all of them are watched.
void check_remote_nodes(TrainerActor* self, const caf::down_msg& down) {
  TrainerState& state = self->state;
  for (size_t node = 0; node < state.remote_nodes.size(); ++node) {
    const auto spawned = state.nodes.find(static_cast<int>(node));
    const bool is_host = state.remote_nodes[node].host.address() == down.source;
    const bool is_its_node = spawned != state.nodes.end() && spawned->second.self.address() == down.source;
    if (!is_host && !is_its_node) continue;
    if (!state.outcome)
      state.core->fail({state.tag, FailureKind::run, describe_node(state, static_cast<int>(node)),
                        "the process is gone: " + self->system().render(down.reason)});
    return;
  }
}

// Ranks notice that a process is gone as soon as the trainer does. The trainer waits a moment, because its
// own message names the node.
void rank_has_failed(TrainerActor* self, Failure failure) {
  constexpr auto until_nodes_are_heard_of = std::chrono::milliseconds(300);
  if (self->state.remote_nodes.empty()) return self->state.core->fail(failure);
  if (self->current_sender() != nullptr) {
    for (const auto& [index, node] : self->state.nodes)
      if (node.self == self->current_sender())
        failure.who += " on node " + self->state.remote_nodes[static_cast<size_t>(index)].address;
    for (const RemoteNode& node : self->state.remote_nodes)  // the node could not take its ranks
      if (node.host == self->current_sender()) failure.who = "node " + node.address;
  }
  self->delayed_send(self, until_nodes_are_heard_of, failed_atom::value, failure);
}

void child_is_down(TrainerActor* self, const caf::down_msg& down) {
  TrainerState& state = self->state;
  check_remote_nodes(self, down);
  const auto found = std::find_if(state.children.begin(), state.children.end(),
                                  [&](const caf::actor& child) { return child.address() == down.source; });
  if (found == state.children.end()) return;
  state.children.erase(found);
  if (!state.outcome)
    state.core->fail(
        {state.tag, FailureKind::run, "an actor of the run ended", self->system().render(down.reason)});
  if (state.children.empty()) announce_end(self);
}

// Ranks are placed on the nodes in order, the same number on each (check_nodes() in cluster.cpp).
void spawn_nodes(TrainerActor* self) {
  TrainerState& state = self->state;
  const caf::actor me = caf::actor_cast<caf::actor>(self);
  const int ranks = state.plan->layout.grid.ranks();
  const int nodes = std::max(1, static_cast<int>(state.remote_nodes.size()));
  for (int rank = 0; rank < ranks; ++rank) state.node_of_rank.push_back(rank * nodes / ranks);
  if (state.remote_nodes.empty()) {
    adopt(self,
          spawn_node(self->system(),
                     {state.tag, state.plan, 0, state.node_of_rank, me, state.writer, "", {}, state.mode}));
    return;
  }
  log::info("tensors between nodes travel {}", tensor_transport(state.plan->config.cluster));
  state.directory = adopt(self, spawn_directory(self->system()));
  const std::string plan = for_nodes(*state.plan);
  std::vector<std::string> endpoints;
  for (const RemoteNode& node : state.remote_nodes) endpoints.push_back(node.endpoint);
  for (int node = 0; node < nodes; ++node) {
    const caf::actor& host = state.remote_nodes[static_cast<size_t>(node)].host;
    self->monitor(host);
    self->send(host, NodeOrder{state.tag, node, state.node_of_rank, plan, me, state.writer, endpoints});
  }
}

// Once all nodes have spawned their ranks, every rank gets the wiring of all.
void node_has_ranks(TrainerActor* self, const NodeRanks& spawned) {
  TrainerState& state = self->state;
  if (!(spawned.tag == state.tag)) return;
  if (!state.remote_nodes.empty()) adopt(self, spawned.self);
  if (state.outcome) return self->send(spawned.self, shutdown_atom::value, std::string("the run has ended"));
  state.nodes[spawned.node] = spawned;
  if (state.nodes.size() < std::max<size_t>(1, state.remote_nodes.size())) return;
  Wiring wiring;
  wiring.tag = state.tag;
  wiring.node_of_rank = state.node_of_rank;
  wiring.trainer = caf::actor_cast<caf::actor>(self);
  wiring.directory = state.directory;
  for (const auto& [index, node] : state.nodes) {
    wiring.ranks.insert(wiring.ranks.end(), node.ranks.begin(), node.ranks.end());
    wiring.receivers.insert(wiring.receivers.end(), node.receivers.begin(), node.receivers.end());
    wiring.link_ends.insert(wiring.link_ends.end(), node.link_ends.begin(), node.link_ends.end());
    if (node.writer) wiring.writers.push_back(node.writer);
  }
  state.outbox->ranks = wiring.ranks;
  if (state.writer) self->send(state.writer, wiring);
  for (const auto& rank : wiring.ranks) self->send(rank, wiring);
}

void spawn_children(TrainerActor* self) {
  TrainerState& state = self->state;
  caf::actor_system& system = self->system();
  const caf::actor me = caf::actor_cast<caf::actor>(self);
  const RunPlan& plan = *state.plan;
  if (plan.purpose == Purpose::train) {
    state.monitor = adopt(self, spawn_monitor(system, state.mode, state.tag, state.plan, me));
    state.writer = adopt(self, spawn_checkpoint_writer(system, state.mode, state.tag, state.plan, me));
    for (int replica = 0; replica < plan.layout.grid.data; ++replica)
      state.loaders.push_back(
          adopt(self, spawn_loader(system, state.mode, state.tag, state.plan, replica, me)));
  }
  if (plan.purpose != Purpose::generate && has_evaluation(plan))
    state.evaluator = adopt(self, spawn_evaluator(system, state.tag, state.plan, me));
  if (plan.purpose == Purpose::generate)
    state.generator = adopt(self, spawn_generator(system, state.tag, state.plan, me, state.listener));
  spawn_nodes(self);
}

// Returns a node that has not spawned its ranks; empty if all have.
std::string missing_node(const TrainerState& state) {
  for (size_t node = 0; node < state.remote_nodes.size(); ++node)
    if (!state.nodes.contains(static_cast<int>(node)))
      return describe_node(state, static_cast<int>(node)) + " to take its ranks";
  return "";
}

// Too long a wait for a node, for ranks to get ready, for the loader, the monitor or the writer is also a
// stall.
void watch(TrainerActor* self) {
  TrainerState& state = self->state;
  if (state.core->ended()) return;
  const double patience_s = state.plan->config.run.stall_timeout_s;
  // One-time work such as loading libraries may take longer than the longest step.
  constexpr double least_at_start_s = 5;
  const double timeout_s =
      state.core->running_seconds() == 0 ? std::max(patience_s, least_at_start_s) : patience_s;
  const std::string missing = missing_node(state);
  const std::string waiting_for = missing.empty() ? state.core->waiting_for() : missing;
  if (waiting_for != state.waiting_for) {
    state.waiting_for = waiting_for;
    state.waiting_since_s = steady_seconds();
  } else if (!waiting_for.empty() && steady_seconds() - state.waiting_since_s > timeout_s) {
    state.core->fail({state.tag, FailureKind::run, "trainer",
                      fmt::format("waits for {} since {:.1f} s (run.stall_timeout_s is {:g})", waiting_for,
                                  steady_seconds() - state.waiting_since_s, patience_s)});
  }
  self->delayed_send(self, watch_interval(patience_s), tick_atom::value);
}

RunStarted started(const RunPlan& plan, const RunTag& tag) {
  RunStarted event;
  event.tag = tag;
  event.name = plan.config.run.name;
  event.dir = plan.config.run.dir;
  event.first_step = plan.checkpoint ? plan.checkpoint->step() + 1 : 1;
  event.total_steps = plan.purpose == Purpose::train ? plan.total_steps : 0;
  event.parameters = parameter_count(plan.model);
  event.ranks = plan.layout.grid.ranks();
  return event;
}

TrainerSettings settings_of(const TrainerState& state, const RunTag& tag) {
  TrainerSettings settings = trainer_settings(*state.plan, tag);
  if (state.plan->purpose != Purpose::train) return settings;
  const int processes = std::max(1, static_cast<int>(state.remote_nodes.size()));
  settings.meter.devices = devices_of(*state.plan, processes);
  settings.meter.peak_flops = peak_flops_of(*state.plan, processes);
  return settings;
}

caf::behavior trainer_behaviour(TrainerActor* self, std::shared_ptr<const RunPlan> plan, caf::actor listener,
                                SpawnMode mode, RunTag tag, std::vector<RemoteNode> nodes) {
  TrainerState& state = self->state;
  state.remote_nodes = std::move(nodes);
  state.plan = std::move(plan);
  state.listener = std::move(listener);
  state.mode = mode;
  state.tag = tag;
  state.outbox = std::make_unique<CafTrainerOutbox>(self);
  state.core = std::make_unique<TrainerCore>(settings_of(state, tag), make_callbacks(state.plan->config),
                                             *state.outbox);
  ignore_answers(self);
  // An exception in the trainer itself ends the run like an exception of any other actor.
  self->set_exception_handler([=](std::exception_ptr& pointer) -> caf::error {
    try {
      std::rethrow_exception(pointer);
    } catch (...) {
      self->state.core->fail(current_failure(self->state.tag, "trainer"));
    }
    return caf::none;
  });
  self->set_down_handler([=](const caf::down_msg& down) { child_is_down(self, down); });
  self->set_exit_handler([=](const caf::exit_msg&) { self->state.core->stop(RunStatus::interrupted); });
  self->send(state.listener, started(*state.plan, tag));
  // If an exception left this function, the trainer would end before the other actors and could not announce
  // their end.
  try {
    spawn_children(self);
  } catch (...) {
    state.core->fail(current_failure(tag, "trainer"));
  }
  // However the trainer ends, the other actors end with it.
  self->attach_functor([children = state.children] {
    for (const auto& child : children) shut_down(child);
  });
  watch(self);
  return {
      [=](const NodeRanks& spawned) { node_has_ranks(self, spawned); },
      [=](const RankReady& ready) { self->state.core->ready(ready); },
      [=](BatchReady& ready) { self->state.core->batch(std::move(ready)); },
      [=](const ProgramReply& reply) { self->state.core->reply(reply); },
      [=](const ProgramDone& done) { self->state.core->done(done); },
      [=](const RankStep& step) { self->state.core->measured(step); },
      [=](ProgramRequest& request) {
        self->state.requesters[request.request.requester] =
            caf::actor_cast<caf::actor>(self->current_sender());
        self->state.core->request(std::move(request));
      },
      [=](const EvaluationFinished& result) { self->state.core->evaluated(result); },
      [=](const GenerationFinished& finished) { self->state.core->generated(finished); },
      [=](const SnapshotWritten& written) { self->state.core->written(written); },
      [=](const StepRecorded& recorded) { self->state.core->recorded(recorded); },
      [=](const Failure& failure) { rank_has_failed(self, failure); },
      [=](failed_atom, const Failure& failure) { self->state.core->fail(failure); },
      [=](const StopRequest& request) {
        if (!request.by.empty()) log::warn("{} asks the run to end: it stops, with a checkpoint", request.by);
        self->state.core->stop(request.why);
      },
      [=](const SaveRequest& request) {
        if (!request.by.empty()) log::info("{} asks for a checkpoint", request.by);
        self->state.core->save();
      },
      [=](const RanksTold& message) {
        if (!(message.tag == tag)) return;
        self->state.told.insert(message.node);
        if (self->state.told.size() == self->state.nodes.size()) self->state.core->told();
      },
      [=](tick_atom) { watch(self); },
      [=](shutdown_atom) { announce_end(self); },
  };
}

}  // namespace

caf::actor spawn_trainer(caf::actor_system& system, std::shared_ptr<const RunPlan> plan, caf::actor listener,
                         SpawnMode mode, std::vector<RemoteNode> nodes) {
  // Distinguishes this run's messages from those of any other run of the process.
  static std::atomic<uint64_t> runs{0};
  return system.spawn(trainer_behaviour, std::move(plan), std::move(listener), mode, RunTag{++runs, 1},
                      std::move(nodes));
}

void request_stop(const caf::actor& run, RunStatus why) {
  caf::anon_send<caf::message_priority::high>(run, StopRequest{why, ""});
}

void request_checkpoint(const caf::actor& run) {
  caf::anon_send<caf::message_priority::high>(run, SaveRequest{});
}

}  // namespace collie
