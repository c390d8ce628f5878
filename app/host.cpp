#include "app/host.hpp"

#include <unistd.h>

#include <caf/all.hpp>
#include <memory>

#include "app/signals.hpp"
#include "base/log.hpp"
#include "base/screen.hpp"

namespace collie {
namespace {

constexpr auto signal_poll_interval = std::chrono::milliseconds(50);

class ActorSystemConfig : public caf::actor_system_config {
 public:
  // `network`: whether there are other processes.
  ActorSystemConfig(bool network, const ClusterSection& cluster) {
    collie::add_message_types(*this);
    if (network) add_cluster_support(*this, cluster);
    // Coordination only; what computes or blocks has threads of its own. Workers that share a queue sleep
    // until there is something in it; those that steal keep looking, which takes 2 to 3 % of a core.
    set("scheduler.policy", caf::atom("sharing"));
    set("scheduler.max-threads", size_t{2});
  }
};

// Where there are, or were, other processes, CAF 0.17 is not waited for, and so not destroyed: it may not end
// where a message that was on its way to a process that died keeps an actor.
bool leaves_caf = false;

class ActorSystem {
 public:
  ActorSystem(bool network, const ClusterSection& cluster)
      : config_(std::make_unique<ActorSystemConfig>(network, cluster)),
        system_(std::make_unique<caf::actor_system>(*config_)),
        network_(network) {}
  ~ActorSystem() {
    if (!network_) return;
    leaves_caf = true;
    (void)system_.release();
    (void)config_.release();
  }
  ActorSystem(const ActorSystem&) = delete;
  ActorSystem& operator=(const ActorSystem&) = delete;
  caf::actor_system& operator*() { return *system_; }

 private:
  std::unique_ptr<ActorSystemConfig> config_;
  std::unique_ptr<caf::actor_system> system_;
  bool network_;
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

// What ended before its start.
RunEnded interrupted() {
  RunEnded outcome;
  outcome.status = RunStatus::interrupted;
  outcome.exit_code = 130;
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
  ActorSystem whole(launch || !plan.config.cluster.nodes.empty(), plan.config.cluster);
  caf::actor_system& system = *whole;
  caf::scoped_actor self(system);
  const Purpose purpose = plan.purpose;
  // Alone, the process may end at any moment before the run has begun; others must be told.
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
        caf::after(signal_poll_interval) >> [] {});
    pass_on(wishes(), run, purpose);
  }
  if (launch) dismiss(system, gathering, outcome.exit_code);
  if (outcome.status == RunStatus::failed) log::error("{}", outcome.message);
  if (outcome.actors_left) {
    log::warn("some actors did not end in time; the process ends without them");
    end_at_once(outcome.exit_code);
  }
  return outcome;
}

int join_run(const Launch& launch, const ClusterSection& cluster) {
  ActorSystem system(true, cluster);
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
  ActorSystem whole(true, cluster);
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
