#include "app/host.hpp"

#include <unistd.h>

#include <caf/all.hpp>
#include <memory>
#include <optional>
#include <thread>
#include <vector>

#include "app/signals.hpp"
#include "base/limits.hpp"
#include "base/log.hpp"
#include "base/screen.hpp"
#include "plan/process_room.hpp"

namespace collie {
namespace {

constexpr auto signal_poll_interval = std::chrono::milliseconds(50);

class ActorSystemConfig : public caf::actor_system_config {
 public:
  // `network`: whether there are other processes.
  ActorSystemConfig(bool network, const ClusterSection& cluster) {
    collie::add_message_types(*this);
    if (network) add_cluster_support(*this, cluster);
    // The workers only coordinate; actors that compute or block have their own threads. Workers that share a
    // queue sleep until it has an entry. Workers that steal keep looking, which takes 2 to 3 % of a core.
    set("scheduler.policy", caf::atom("sharing"));
    set("scheduler.max-threads", size_t{2});
  }
};

// If there are or were other processes, the command does not wait for CAF 0.17 and does not destroy it. CAF
// may not end if a message in flight to a process that died keeps an actor alive. The command does not wait
// after a failed run either, because CAF waits for ever for an actor whose thread could not be started.
bool leaves_caf = false;

class ActorSystem {
 public:
  // Throws RunError if the process may not have the resources of the system and of `more`.
  ActorSystem(const std::optional<size_t>& others, const ClusterSection& cluster, Room more)
      : left_(others.has_value()) {
    more += others ? room_of_networked_actor_system(*others) : room_of_actor_system();
    check_room(more);
    config_ = std::make_unique<ActorSystemConfig>(others.has_value(), cluster);
    // CAF's constructor runs on its own thread, where nobody catches. It has started threads when it throws,
    // so an exception that left it would crash or wait for ever. In this way the exception ends the process
    // with its reason instead.
    std::jthread([&] { system_ = std::make_unique<caf::actor_system>(*config_); }).join();
  }
  ~ActorSystem() {
    if (!left_) return;
    leaves_caf = true;
    (void)system_.release();
    (void)config_.release();
  }
  ActorSystem(const ActorSystem&) = delete;
  ActorSystem& operator=(const ActorSystem&) = delete;
  caf::actor_system& operator*() { return *system_; }
  // After this call nobody waits for the system at its end.
  void leave() { left_ = true; }

 private:
  std::unique_ptr<ActorSystemConfig> config_;
  std::unique_ptr<caf::actor_system> system_;
  bool left_;
};

[[noreturn]] void end_at_once(int exit_code) {
  standard_error().flush();
  ::_exit(exit_code);
}

void pass_on(Wish wish, const caf::actor& run, Purpose purpose) {
  if (wish == Wish::end) {
    log::warn(purpose == Purpose::train
                  ? "stopping, with a checkpoint of the last whole step; once more ends at once"
                  : "stopping; once more ends at once");
    request_stop(run, RunStatus::interrupted);
  }
  if (wish == Wish::save && purpose == Purpose::train) request_checkpoint(run);
}

// The outcome of a run that ended before its start.
RunEnded interrupted() {
  RunEnded outcome;
  outcome.status = RunStatus::interrupted;
  outcome.exit_code = 130;
  return outcome;
}

// Returns nothing if the run is in this process alone.
std::optional<size_t> other_processes(const RunPlan& plan, const std::optional<Launch>& launch) {
  if (launch) return static_cast<size_t>(launch->size - 1);
  if (plan.config.cluster.nodes.empty()) return std::nullopt;
  return plan.config.cluster.nodes.size();
}

// The room of the run besides the actor system. Nodes count the ranks that they hold, also those in this
// process.
Room room_of_run(const RunPlan& plan, bool on_nodes) {
  Room room = room_of_trainer(plan);
  if (on_nodes) return room;
  room.bytes = check_memory(plan);
  room += room_of_ranks(plan, std::vector<int>(static_cast<size_t>(plan.layout.grid.ranks()), 0), 0,
                        RankLinks::none);
  return room;
}

RunEnded failed(const std::string& why) {
  RunEnded outcome;
  outcome.status = RunStatus::failed;
  outcome.exit_code = 1;
  outcome.message = why;
  return outcome;
}

Gathering gather(caf::scoped_actor& self, const RunPlan& plan, const std::optional<Launch>& launch,
                 const Wishes& wishes) {
  try {
    if (launch) return gather_nodes(self, *launch, plan.config.cluster, plan.config.run.name, wishes);
    return {
        connect_nodes(self->system(), plan.config.cluster, plan.layout.grid.ranks(), plan.config.run.name),
        {}};
  } catch (const UserError& error) {
    log::error("{}", error.what());
    end_at_once(2);
  }
}

}  // namespace

RunEnded run_to_end(RunPlan plan, const RunHandlers& handlers, const std::optional<Launch>& launch) {
  const std::optional<size_t> others = other_processes(plan, launch);
  ActorSystem whole(others, plan.config.cluster, room_of_run(plan, others.has_value()));
  caf::actor_system& system = *whole;
  caf::scoped_actor self(system);
  const Purpose purpose = plan.purpose;
  // If the process is alone, it may end at any moment before the run has begun; other processes must be told.
  std::optional<signals::Held> signals;
  if (launch) signals.emplace();
  const auto wishes = [&] { return signals->wish(); };
  const Gathering gathering = gather(self, plan, launch, wishes);
  if (gathering.interrupted) {
    log::warn("asked to end before all processes had come");
    dismiss(system, gathering, interrupted().exit_code);
    return interrupted();
  }
  const caf::actor run =
      spawn_run(system, std::move(plan), caf::actor_cast<caf::actor>(self), gathering.nodes);
  if (!signals) signals.emplace();
  self->monitor(run);

  RunEnded outcome;
  bool ended = false;
  while (!ended) {
    self->receive(
        [&](const RunStarted& event) { handlers.started(event); }, [](const StepFinished&) {},
        [&](const EvaluationFinished& event) { handlers.evaluated(event); },
        [&](const CheckpointSaved& event) { handlers.saved(event); },
        [&](const TokenGenerated& event) { handlers.generated(event); },
        [&](const StopRequest& request) { caf::anon_send<caf::message_priority::high>(run, request); },
        [&](const SaveRequest& request) { caf::anon_send<caf::message_priority::high>(run, request); },
        [&](const RunEnded& event) {
          outcome = event;
          ended = true;
        },
        [&](const caf::down_msg& down) {
          if (down.source != run.address()) return;
          outcome = failed("the trainer ended: " + system.render(down.reason));
          ended = true;
        },
        caf::after(signal_poll_interval) >> [] {});
    pass_on(wishes(), run, purpose);
  }
  if (launch) dismiss(system, gathering, outcome.exit_code);
  if (outcome.status == RunStatus::failed) {
    log::error("{}", outcome.message);
    whole.leave();
  }
  if (outcome.actors_left) {
    log::warn("some actors did not end in time; the process ends without them");
    end_at_once(outcome.exit_code);
  }
  return outcome;
}

int join_run(const Launch& launch, const ClusterSection& cluster) {
  ActorSystem system(static_cast<size_t>(launch.size - 1), cluster, {});
  std::optional<signals::Held> signals;
  return join(*system, launch, cluster, [&]() -> Wishes {
    signals.emplace();
    return [&] { return signals->wish(); };
  });
}

int ended(int exit_code) {
  if (leaves_caf) end_at_once(exit_code);
  standard_error().flush();
  return exit_code;
}

void serve_as_node(const NodeAddress& address, const ClusterSection& cluster) {
  constexpr size_t others = 1;  // at least one; the node checks the actual number with each order
  ActorSystem whole(others, cluster, {});
  caf::actor_system& system = *whole;
  caf::scoped_actor self(system);
  signals::Held signals;
  const caf::actor host = listen_as_node(system, address, cluster);
  self->monitor(host);
  log::info("listening at {}", to_string(address));
  const std::string by = fmt::format("the node at {}", to_string(address));
  for (bool serving = true; serving;) {
    self->receive([&](const caf::down_msg&) { serving = false; }, caf::after(signal_poll_interval) >> [] {});
    const Wish wish = signals.wish();
    if (wish == Wish::end) self->send(host, StopRequest{RunStatus::interrupted, by});
    if (wish == Wish::save) self->send(host, SaveRequest{by});
  }
  log::info("ends");
  end_at_once(0);
}

}  // namespace collie
