// The stage actor receives messages, executes one task per turn and sends messages. stage_core decides what
// it does and when; its worker does the maths.
#include <algorithm>
#include <chrono>
#include <cmath>
#include <map>
#include <optional>

#include "actors/caf_types.hpp"
#include "actors/guard.hpp"
#include "runtime/stage_core.hpp"
#include "runtime/tensor_transfer.hpp"

namespace collie {
namespace {

struct StageState;
using StageActor = caf::stateful_actor<StageState>;

class CafStageOutbox final : public StageOutbox {
 public:
  CafStageOutbox(StageActor* self, Wiring wiring) : self_(self), wiring_(std::move(wiring)) {}

  void send(int rank, Payload payload) override;
  // Called when a credit has come back. The memory of the channel's oldest payload to another process may be
  // released.
  void sent(const Channel& channel) {
    const auto oldest = sends_.lower_bound(channel);
    if (oldest != sends_.end() && oldest->first == channel) sends_.erase(oldest);
  }
  void send(int rank, Credit credit) override;
  void report(ProgramReply reply) override;
  void report(ProgramDone done) override;
  void measured(RankStep step) override;
  void deliver(SnapshotPart part) override;
  std::function<void()> outcome_notifier() override;

 private:
  const caf::actor& peer(int rank) const { return wiring_.ranks[static_cast<size_t>(rank)]; }
  const caf::actor& receiver_of(int rank) const { return wiring_.receivers[static_cast<size_t>(rank)]; }
  bool is_remote(int rank) const;
  bool is_first_of_process() const;
  StageActor* self_;
  Wiring wiring_;
  ProcessWatch process_;
  int64_t network_bytes_ = 0;  // of tensors to stages in other processes, since the last report of it
  std::multimap<Channel, TensorSend> sends_;  // sends to other processes; at most a channel's credits each
};

struct StageState {
  const char* name = "stage";
  StageSpec spec;
  std::unique_ptr<StageWorker> worker;
  std::unique_ptr<CafStageOutbox> outbox;
  std::unique_ptr<StageCore> core;
  bool turn_pending = false;  // a `continue`, or the end of a synthetic task, is in flight
  bool check_pending = false;
};

bool CafStageOutbox::is_remote(int rank) const {
  const auto& nodes = wiring_.node_of_rank;
  return !nodes.empty() &&
         nodes[static_cast<size_t>(rank)] != nodes[static_cast<size_t>(self_->state.spec.settings.rank)];
}

// One rank reports for all of its process.
bool CafStageOutbox::is_first_of_process() const {
  const auto& nodes = wiring_.node_of_rank;
  const auto own = static_cast<size_t>(self_->state.spec.settings.rank);
  return nodes.empty() ? own == 0
                       : std::find(nodes.begin(), nodes.end(), nodes[own]) ==
                             nodes.begin() + self_->state.spec.settings.rank;
}

void CafStageOutbox::measured(RankStep step) {
  step.network_bytes += std::exchange(network_bytes_, 0);
  if (is_first_of_process())
    if (const auto use = process_.look()) step.process = *use;
  self_->send(wiring_.trainer, std::move(step));
}

void CafStageOutbox::send(int rank, Payload payload) {
  if (!payload.tensor.defined()) return self_->send(peer(rank), std::move(payload));
  const StageSpec& spec = self_->state.spec;
  if (is_remote(rank)) network_bytes_ += static_cast<int64_t>(payload.tensor.bytes());
  if (const auto pipe = spec.connections ? spec.connections->pipe_to(rank) : nullptr) {
    Tensor tensor = detach_tensor(payload, spec.settings.rank);
    announce_over(*pipe, payload);
    self_->send(receiver_of(rank), std::move(payload));
    return pipe->send(std::move(tensor));
  }
  if (is_remote(rank)) {
    const Tensor tensor = detach_tensor(payload, spec.settings.rank);
    sends_.emplace(payload.channel, TensorSend(*spec.connections->link(), rank, payload.channel, tensor));
    return self_->send(receiver_of(rank), std::move(payload));
  }
  self_->send(peer(rank), std::move(payload));
}

void CafStageOutbox::send(int rank, Credit credit) {
  self_->send(peer(rank), credit);
}
void CafStageOutbox::report(ProgramReply reply) {
  self_->send(wiring_.trainer, std::move(reply));
}
void CafStageOutbox::report(ProgramDone done) {
  self_->send(wiring_.trainer, std::move(done));
}
void CafStageOutbox::deliver(SnapshotPart part) {
  const auto node = wiring_.node_of_rank[static_cast<size_t>(part.rank)];
  self_->send(wiring_.writers[static_cast<size_t>(node)], std::move(part));
}

std::function<void()> CafStageOutbox::outcome_notifier() {
  return [self = caf::actor_cast<caf::actor>(self_)] { caf::anon_send(self, known_atom::value); };
}

// A failed device calls nobody. So the stage checks it once per second while its outcome is awaited.
void look_after(StageActor* self) {
  StageState& state = self->state;
  if (state.check_pending || !state.core->awaits_outcome()) return;
  state.check_pending = true;
  self->delayed_send(self, std::chrono::seconds(1), check_atom::value);
}

// Starts one more turn, unless one is in flight or nothing is ready.
void take_turn(StageActor* self) {
  StageState& state = self->state;
  if (state.turn_pending || !state.core) return;
  const std::optional<Task> task = state.core->ready();
  if (!task) return;
  state.turn_pending = true;
  const double delay_s = state.spec.delay_s ? state.spec.delay_s(*task) : 0.0;
  if (delay_s > 0)
    self->delayed_send(self, std::chrono::nanoseconds(std::llround(delay_s * 1e9)), elapsed_atom::value);
  else
    self->send(self, continue_atom::value);
}

// The task may be part of a program to give up, and its collective may have been aborted for that.
void execute_task(StageState& state) {
  try {
    state.core->execute();
  } catch (const std::exception&) {
    const uint64_t program = state.spec.connections ? state.spec.connections->given_up() : 0;
    if (program == 0 || !state.core->give_up_running(program)) throw;
  }
}

void execute(StageActor* self) {
  self->state.turn_pending = false;
  execute_task(self->state);
  look_after(self);
  take_turn(self);
}

caf::behavior stage_behaviour(StageActor* self, StageSpec spec) {
  const std::string who = "rank " + std::to_string(spec.settings.rank);
  report_exceptions_to(self, spec.owner, spec.settings.tag, who);
  self->state.spec = std::move(spec);
  return {
      [=](Wiring& wiring) {
        StageState& state = self->state;
        if (!(wiring.tag == state.spec.settings.tag)) return;
        state.outbox = std::make_unique<CafStageOutbox>(self, wiring);
        state.worker = state.spec.make_worker(wiring);
        state.core = std::make_unique<StageCore>(state.spec.settings, *state.worker, *state.outbox,
                                                 *state.spec.status);
        self->send(wiring.trainer,
                   RankReady{state.spec.settings.tag, state.spec.settings.rank, state.worker->gives_up()});
      },
      [=](const ProgramMessage& message) {
        self->state.core->enqueue(message.program);
        take_turn(self);
      },
      [=](Payload& payload) {
        self->state.core->arrive(std::move(payload));
        take_turn(self);
      },
      [=](const Credit& credit) {
        if (!(credit.tag == self->state.spec.settings.tag)) return;
        self->state.outbox->sent(credit.channel);
        self->state.core->credit(credit);
        take_turn(self);
      },
      [=](known_atom) {
        self->state.core->on_outcome_ready();
        take_turn(self);
      },
      [=](check_atom) {
        self->state.check_pending = false;
        if (self->state.core->awaits_outcome()) self->state.core->check();
        look_after(self);
      },
      [=](const GiveUp& message) {
        if (!self->state.core || !(message.tag == self->state.spec.settings.tag)) return;
        self->state.core->give_up(message.program);
        take_turn(self);
      },
      [=](continue_atom) { execute(self); },
      [=](elapsed_atom) { execute(self); },
  };
}

}  // namespace

caf::actor spawn_stage(caf::actor_system& system, SpawnMode mode, StageSpec spec) {
  if (mode == SpawnMode::detached) return system.spawn<caf::detached>(stage_behaviour, std::move(spec));
  return system.spawn(stage_behaviour, std::move(spec));
}

}  // namespace collie
