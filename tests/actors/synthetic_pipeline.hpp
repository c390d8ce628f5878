// A pipeline of stage actors that compute nothing, driven from outside by one actor: for tests in virtual
// time and for the benchmark of the runtime's own cost. Included by files that include CAF anyway.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "actors/caf_types.hpp"
#include "actors/spawn.hpp"
#include "schedule/schedules.hpp"

namespace collie::test {

// Does `compute` (nothing where empty) for every compute task; its tensors are undefined.
class SyntheticWorker final : public StageWorker {
 public:
  using Compute = std::function<void(const Task&)>;
  explicit SyntheticWorker(Compute compute) : compute_(std::move(compute)) {}
  void begin(const Program&) override {}
  void compute(const Task& task) override {
    if (compute_) compute_(task);
  }
  Tensor take(const Channel&, int) override { return {}; }
  void put(const Channel&, int, Tensor) override {}
  bool synchronize_step(std::function<void()>) override { return true; }
  StepOutcome outcome() override { return {}; }
  void update() override {}
  std::vector<NamedValues> loss_values() override { return {}; }
  std::vector<NamedValues> sample() override { return {}; }
  std::vector<CheckpointSlice> snapshot() override { return {}; }
  RankSummary summary() const override { return {}; }

 private:
  Compute compute_;
};

// The tasks of a schedule with its sends and receives; `update`: with the end of a step as well.
inline std::shared_ptr<const TaskLists> tasks_of(const schedule::Schedule& schedule, bool update = false) {
  auto lists = std::make_shared<TaskLists>();
  for (const auto& actions : schedule::with_communication(schedule).lists) {
    auto& list = lists->emplace_back();
    for (const auto& action : actions) list.push_back({TaskKind::pipeline, action});
    if (update) list.insert(list.end(), {Task{TaskKind::synchronize_step, {}}, Task{TaskKind::update, {}}});
  }
  return lists;
}

struct SyntheticSettings {
  SpawnMode mode = SpawnMode::detached;
  int credits = 2;
  bool trace = false;
  std::function<double(const Task&)> delay_s;
  SyntheticWorker::Compute compute;
};

class SyntheticPipeline {
 public:
  // Called whenever the driver waits for a message and has none; real time needs nothing.
  using Pump = std::function<void()>;

  // Spawns and wires one stage actor per rank, and waits until all are ready.
  SyntheticPipeline(caf::actor_system& system, const schedule::Schedule& schedule, SyntheticSettings settings,
                    Pump pump = {})
      : self_(system), pump_(std::move(pump)) {
    Wiring wiring;
    wiring.tag = tag_;
    wiring.trainer = caf::actor_cast<caf::actor>(self_);
    wiring.writers = {wiring.trainer};
    wiring.node_of_rank.assign(static_cast<size_t>(schedule.ranks), 0);
    for (int rank = 0; rank < schedule.ranks; ++rank) {
      StageSpec spec;
      spec.settings = {tag_, rank, schedule.rank_of_stage, settings.credits, settings.trace, {}, true};
      spec.make_worker = [compute = settings.compute](const Wiring&) {
        return std::make_unique<SyntheticWorker>(compute);
      };
      spec.delay_s = settings.delay_s;
      spec.status = statuses_.emplace_back(std::make_shared<RankStatus>());
      spec.owner = wiring.trainer;
      wiring.ranks.push_back(spawn_stage(system, settings.mode, std::move(spec)));
    }
    ranks_ = wiring.ranks;
    for (const auto& rank : ranks_) self_->send(rank, wiring);
    for (size_t ready = 0; ready < ranks_.size(); ++ready) receive();
  }

  ~SyntheticPipeline() {
    for (const auto& rank : ranks_)
      caf::anon_send<caf::message_priority::high>(
          rank, caf::exit_msg{rank.address(), caf::exit_reason::user_shutdown});
  }

  void start(std::shared_ptr<const TaskLists> lists) {
    Program program;
    program.tag = tag_;
    program.id = ++programs_;
    program.lists = std::move(lists);
    const ProgramMessage message{std::make_shared<const Program>(std::move(program))};
    for (const auto& rank : ranks_) self_->send(rank, message);
  }

  // Waits until every rank is done with the program that was started last; what they said of it, by rank.
  std::vector<ProgramDone> finish() {
    done_.clear();
    while (done_.size() < ranks_.size()) receive();
    std::vector<ProgramDone> all;
    for (auto& [rank, done] : done_) all.push_back(std::move(done));
    return all;
  }

  const std::vector<std::shared_ptr<RankStatus>>& statuses() const { return statuses_; }

 private:
  void receive() {
    if (pump_)
      while (!self_->has_next_message()) pump_();
    self_->receive([](const RankReady&) {}, [](const ProgramReply&) {},
                   [&](ProgramDone& done) { done_[done.rank] = std::move(done); }, [](const RankStep&) {},
                   [&](const Failure& failure) { throw RunError("{}: {}", failure.who, failure.cause); });
  }

  static constexpr RunTag tag_{1, 1};
  caf::scoped_actor self_;
  Pump pump_;
  std::vector<caf::actor> ranks_;
  std::vector<std::shared_ptr<RankStatus>> statuses_;
  std::map<int, ProgramDone> done_;
  uint64_t programs_ = 0;
};

}  // namespace collie::test
