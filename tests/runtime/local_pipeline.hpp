// Whole training steps in the calling thread: the stage cores and model workers of every rank, with their
// messages handed over directly. What actors add is missing; the maths is all there.
#pragma once

#include <atomic>
#include <future>
#include <memory>
#include <utility>
#include <vector>

#include "base/error.hpp"
#include "comm/fake_group.hpp"
#include "runtime/model_worker.hpp"
#include "runtime/stage_core.hpp"
#include "schedule/schedules.hpp"

namespace collie::test {

// A pipeline of so many ranks and nothing else.
inline Layout layout_of(int ranks, bool tied, const std::string& schedule) {
  Layout layout;
  layout.grid.pipeline = ranks;
  layout.schedule = schedule;
  layout.virtual_stages = schedule::stages_per_rank(schedule, 1);
  layout.stages = ranks * layout.virtual_stages;
  layout.rank_of_stage = schedule::rank_of_stage(schedule, ranks, layout.virtual_stages);
  layout.tied = tied;
  return layout;
}

// For operations without memory.
inline std::vector<std::shared_ptr<ProcessGroup>> fake_world(int ranks) {
  std::vector<std::shared_ptr<ProcessGroup>> ends;
  for (int rank = 0; rank < ranks; ++rank) ends.push_back(make_fake_group(rank, ranks));
  return ends;
}

class LocalPipeline {
 public:
  // `settings` of any rank: its rank is set here. `world`: the ends in which ranks agree on steps, of memory
  // that their operations have; by default the host's.
  LocalPipeline(Layout layout, const ModelWorkerSettings& settings,
                std::vector<std::shared_ptr<ProcessGroup>> world = {})
      : layout_(std::move(layout)), optimizers_(settings.optimizer), memory_(optimizers_.memory()) {
    if (world.empty()) world = make_in_process_group(layout_.grid.pipeline);
    for (int rank = 0; rank < layout_.grid.pipeline; ++rank) {
      auto& at = *ranks_.emplace_back(std::make_unique<Rank>());
      ModelWorkerSettings own = settings;
      own.rank = rank;
      own.grid = layout_.grid;
      own.account = std::make_shared<MemoryAccount>();
      own.rank_of_stage = layout_.rank_of_stage;
      if (layout_.grid.pipeline > 1)
        own.groups.reduction_tree = {std::make_shared<MeteredGroup>(world[static_cast<size_t>(rank)])};
      at.outbox.pipeline = this;
      at.worker = std::make_unique<ModelWorker>(std::move(own));
      at.core =
          std::make_unique<StageCore>(StageSettings{tag_, rank, layout_.rank_of_stage, 1, false, {}, true},
                                      *at.worker, at.outbox, at.status);
    }
  }

  // One optimizer step; returns the sum of the losses.
  double train(std::shared_ptr<const StepBatch> batch, double lr_factor) {
    Program program = program_of(training_program, std::move(batch));
    program.step = program.update = ++step_;
    program.lr_factor = lr_factor;
    optimizers_.remember(memory_, lr_factor, step_);
    for (const UpdateMemory& of_group : memory_)
      program.memory.emplace_back(of_group.begin(), of_group.end());
    return run(std::move(program));
  }
  // The same, updated inside backward and clipped by that norm; 0: not at all.
  double train_fused(std::shared_ptr<const StepBatch> batch, double lr_factor, double clip_norm = 0) {
    Program program = program_of(fused_program, std::move(batch));
    program.step = program.update = ++step_;
    program.lr_factor = lr_factor;
    program.clip_norm = clip_norm;
    return run(std::move(program));
  }
  // The estimate of the curvature before the next of them; returns the sum of the losses of sampled labels.
  double estimate(std::shared_ptr<const StepBatch> batch) {
    Program program = program_of(estimate_program, std::move(batch));
    program.step = program.update = step_ + 1;
    return run(std::move(program));
  }
  // The same as train() without its update; norm() is the norm.
  double compute_norm(std::shared_ptr<const StepBatch> batch) {
    return run(program_of(norm_program, std::move(batch)));
  }
  // The sum of the losses.
  double evaluate(std::shared_ptr<const StepBatch> batch) {
    return run(program_of(evaluation_program, std::move(batch)));
  }
  // All ranks' slices, rank by rank.
  std::vector<CheckpointSlice> snapshot() {
    slices_.clear();
    run(program_of(snapshot_program, nullptr));
    return std::move(slices_);
  }
  Program program_of(const ProgramKind& kind, std::shared_ptr<const StepBatch> batch) const {
    Program program;
    program.kind = kind;
    ProgramTasks tasks = tasks_of(kind, layout_, batch ? static_cast<int>(batch->micro_batches.size()) : 0);
    program.lists = std::make_shared<const TaskLists>(std::move(tasks.lists));
    program.activation_limits = std::move(tasks.activation_limits);
    if (batch) program.batches = {std::move(batch)};
    return program;
  }
  // Any program; the loss that was reported, if it has one.
  double run(Program program) {
    program.tag = tag_;
    program.id = ++programs_;
    const ProgramPtr pointer = std::make_shared<const Program>(std::move(program));
    for (auto& rank : ranks_) rank->core->enqueue(pointer);
    while (advance()) {
    }
    for (size_t rank = 0; rank < ranks_.size(); ++rank)
      if (ranks_[rank]->status.get().phase != RankStatus::Phase::idle)
        throw RunError("rank {} {}", rank, ranks_[rank]->status.get().what);
    const bool has_loss = pointer->kind.pass == Pass::train || pointer->kind.pass == Pass::loss;
    return has_loss ? value_of(reply_, loss_sum_name) : 0;
  }

  ModelWorker& worker(int rank) { return *ranks_[static_cast<size_t>(rank)]->worker; }
  // What the last program gave.
  const ProgramReply& reply() const { return reply_; }
  // Of the gradients of the last program, which had some; before clipping.
  double norm() const { return value_of(reply_, gradient_norm_name); }

 private:
  struct Outbox final : StageOutbox {
    LocalPipeline* pipeline = nullptr;
    StageCore& core(int rank) { return *pipeline->ranks_[static_cast<size_t>(rank)]->core; }
    void send(int rank, Payload payload) override { core(rank).arrive(std::move(payload)); }
    void send(int rank, Credit credit) override { core(rank).credit(credit); }
    void report(ProgramReply reply) override { pipeline->reply_ = std::move(reply); }
    void report(ProgramDone) override {}
    void deliver(SnapshotPart part) override {
      for (auto& slice : part.slices) pipeline->slices_.push_back(std::move(slice));
    }
    std::function<void()> outcome_notifier() override {
      return [this] { known = true; };
    }
    std::atomic<bool> known{false};  // a device has agreed on the step
  };
  struct Rank {
    Outbox outbox;
    RankStatus status;
    std::unique_ptr<ModelWorker> worker;
    std::unique_ptr<StageCore> core;
  };

  // Every rank as far as it gets; whether any did anything. They agree on a step when all have got there.
  bool advance() {
    bool progress = false;
    size_t waiting = 0;
    for (auto& rank : ranks_) {
      std::optional<Task> task = rank->core->ready();
      for (; task && task->kind != TaskKind::synchronize_step; task = rank->core->ready()) {
        rank->core->execute();
        progress = true;
      }
      if (task) ++waiting;
    }
    if (waiting < ranks_.size()) return progress;
    agree();
    return true;
  }

  void agree() {
    std::vector<std::future<void>> all;
    for (auto& rank : ranks_)
      all.push_back(std::async(std::launch::async, [&core = *rank->core] { core.execute(); }));
    for (auto& done : all) done.get();
    for (auto& rank : ranks_)
      while (rank->core->awaits_outcome())
        if (rank->outbox.known.exchange(false)) rank->core->on_outcome_ready();
  }

  static constexpr RunTag tag_{1, 1};
  Layout layout_;
  std::vector<std::unique_ptr<Rank>> ranks_;
  std::vector<CheckpointSlice> slices_;
  ProgramReply reply_;
  int64_t step_ = 0;
  ParameterGroups optimizers_;
  std::vector<UpdateMemory> memory_;
  uint64_t programs_ = 0;
};

}  // namespace collie::test
