#include "app/host.hpp"

#include <unistd.h>
#include <csignal>
#include <cstdio>

#include <caf/all.hpp>
#include <memory>

#include "base/log.hpp"

namespace collie {
namespace {

constexpr auto signal_poll_interval = std::chrono::milliseconds(50);
constexpr auto longest_goodbye = std::chrono::seconds(2);  // of a node host

sigset_t ending_signals() {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGINT);
  sigaddset(&set, SIGTERM);
  return set;
}

bool signal_arrived() {
  const sigset_t set = ending_signals();
  const timespec now{0, 0};
  return ::sigtimedwait(&set, nullptr, &now) > 0;
}

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
  std::fflush(nullptr);
  ::_exit(exit_code);
}

void on_signal(const caf::actor& run, int& signals) {
  if (++signals > 1) ::_exit(130);
  log::warn("stopping after this step, with a checkpoint; once more ends at once");
  request_stop(run, RunStatus::interrupted);
}

Gathering gather(caf::actor_system& system, const RunPlan& plan, const std::optional<Launch>& launch) {
  try {
    if (launch) return gather_nodes(system, *launch, plan.config.cluster, plan.config.run.name);
    return {connect_nodes(system, plan.config.cluster, plan.layout.grid.ranks(), plan.config.run.name), {}};
  } catch (const UserError& error) {
    log::error("{}", error.what());
    end_at_once(2);
  }
}

}  // namespace

RunEnded run_to_end(RunPlan plan, const RunHandlers& handlers, const std::optional<Launch>& launch) {
  const sigset_t set = ending_signals();
  ::pthread_sigmask(SIG_BLOCK, &set, nullptr);
  // A write beyond `ulimit -f` then fails with a reason that can be reported.
  std::signal(SIGXFSZ, SIG_IGN);
  ActorSystem whole(launch || !plan.config.cluster.nodes.empty(), plan.config.cluster);
  caf::actor_system& system = *whole;
  caf::scoped_actor self(system);
  const auto listener = caf::actor_cast<caf::actor>(self);
  const Gathering gathering = gather(system, plan, launch);
  const caf::actor run = spawn_run(system, std::move(plan), listener, gathering.nodes);

  RunEnded outcome;
  bool ended = false;
  int signals = 0;
  while (!ended) {
    self->receive([&](const RunStarted& event) { handlers.started(event); }, [](const StepFinished&) {},
                  [&](const EvaluationFinished& event) { handlers.evaluated(event); },
                  [&](const CheckpointSaved& event) { handlers.saved(event); },
                  [&](const TokenGenerated& event) { handlers.generated(event); },
                  [&](const RunEnded& event) {
                    outcome = event;
                    ended = true;
                  },
                  caf::after(signal_poll_interval) >> [] {});
    if (signal_arrived()) on_signal(run, signals);
  }
  if (launch) dismiss(system, gathering);
  if (outcome.status == RunStatus::failed) log::error("{}", outcome.message);
  if (outcome.actors_left) {
    log::error("some actors did not end in time; the process ends without them");
    ::_exit(outcome.exit_code);
  }
  return outcome;
}

int join_run(const Launch& launch, const ClusterSection& cluster) {
  ActorSystem system(true, cluster);
  return join(*system, launch, cluster);
}

int ended(int exit_code) {
  if (leaves_caf) end_at_once(exit_code);
  return exit_code;
}

void serve_as_node(const NodeAddress& address, const ClusterSection& cluster) {
  const sigset_t set = ending_signals();
  ::pthread_sigmask(SIG_BLOCK, &set, nullptr);
  std::signal(SIGXFSZ, SIG_IGN);
  ActorSystem whole(true, cluster);
  caf::actor_system& system = *whole;
  const caf::actor host = listen_as_node(system, address, cluster);
  log::info("listening at {}", to_string(address));
  int signal = 0;
  ::sigwait(&set, &signal);
  log::info("ends");
  caf::scoped_actor self(system);
  self->monitor(host);
  caf::anon_send_exit(host, caf::exit_reason::user_shutdown);
  self->receive([](const caf::down_msg&) {}, caf::after(longest_goodbye) >> [] {});
  end_at_once(0);
}

}  // namespace collie
