// A step's work is queued to its end while the device has not begun it: the host waits for no result of the
// step's own. (A driver takes no more than some thousand pieces of work ahead, so the step is small.)
#include <atomic>
#include <chrono>
#include <future>

#include "kernels/cuda/backend.hpp"
#include "runtime/stage_core.hpp"
#include "tests/catch.hpp"
#include "tests/models/support.hpp"
#include "tests/runtime/local_pipeline.hpp"
#include "tests/runtime/recorders.hpp"

using namespace collie;
using namespace collie::test;

namespace {

// Who waits at it stands still while it is closed, but not for ever: a host that waits for the device would,
// too.
class QueueGate {
 public:
  std::function<void()> waits() {
    return [this, open = open_.get_future().share()] {
      gave_up_ = open.wait_for(std::chrono::seconds(5)) == std::future_status::timeout;
    };
  }
  bool gave_up() const { return gave_up_; }
  void open() { open_.set_value(); }

 private:
  std::promise<void> open_;
  std::atomic<bool> gave_up_{false};
};

struct BellOutbox final : StageOutbox {
  std::vector<ProgramReply> steps;
  int done = 0;
  std::promise<void> rung;
  void send(int, Payload) override {}
  void send(int, Credit) override {}
  void report(ProgramReply reply) override { steps.push_back(std::move(reply)); }
  void report(ProgramDone) override { ++done; }
  void deliver(SnapshotPart) override {}
  std::function<void()> outcome_notifier() override {
    rung = {};
    return [this] { rung.set_value(); };
  }
};

class OneRank {
 public:
  explicit OneRank(ModelWorkerSettings settings) {
    settings.ranges = partition_stages(settings.model.architecture, 1, "uniform");
    settings.rank_of_stage = {0};
    settings.clip_grad_norm = 0.1;
    settings.make_operations = [this, dtype = settings.precision.master ? DType::bf16 : DType::f32](
                                   int, std::shared_ptr<MemoryAccount> account) {
      auto operations = cuda_backend().make_operations(dtype, 0, std::move(account));
      operations_ = operations.get();
      return operations;
    };
    worker_ = std::make_unique<ModelWorker>(std::move(settings));
    core_ = std::make_unique<StageCore>(StageSettings{{1, 1}, 0, {0}}, *worker_, outbox_, status_);
  }

  void queue_step(int micro_batches) {
    Program program;
    program.tag = {1, 1};
    program.id = static_cast<uint64_t>(++steps_);
    program.step = program.update = steps_;
    program.lr_factor = 1e-2;
    ProgramTasks tasks = tasks_of(training_program, layout_of(1, true, "1f1b"), micro_batches);
    program.lists = std::make_shared<const TaskLists>(std::move(tasks.lists));
    program.activation_limits = std::move(tasks.activation_limits);
    auto batch = std::make_shared<StepBatch>();
    for (int i = 0; i < micro_batches; ++i) {
      batch->micro_batches.push_back(make_batch({5, 9 + i}, 11, fmt::format("batch {} of {}", i, steps_)));
      batch->global_target_tokens += batch->micro_batches.back().target_tokens;
    }
    program.batches = {batch};
    core_->enqueue(std::make_shared<const Program>(std::move(program)));
    while (core_->ready()) core_->execute();
  }
  double outcome() {
    outbox_.rung.get_future().wait();
    core_->on_outcome_ready();
    return value_of(outbox_.steps.back(), loss_sum_name);
  }
  Operations& operations() { return *operations_; }
  const BellOutbox& outbox() const { return outbox_; }

 private:
  Operations* operations_ = nullptr;
  BellOutbox outbox_;
  RankStatus status_;
  std::unique_ptr<ModelWorker> worker_;
  std::unique_ptr<StageCore> core_;
  int64_t steps_ = 0;
};

ModelWorkerSettings small_model() {
  ModelWorkerSettings settings;
  settings.model = tiny_config(true);
  return settings;
}

}  // namespace

TEST_CASE("the host queues a whole step, its update too, while the device stands still") {
  ModelWorkerSettings settings = small_model();
  const std::string what =
      GENERATE("as it is", "in bfloat16", "as graphs", "recomputed", "with activations on the host");
  CAPTURE(what);
  if (what == "in bfloat16") settings.precision = precision_of(OptimizerConfig{}, "bfloat16", 42);
  settings.graphs = what == "as graphs";
  if (what == "recomputed") settings.activations.recompute = Recompute::full;
  settings.activations.offload = what == "with activations on the host";
  constexpr int micro_batches = 2;
  const auto last_loss = [&](bool stands_still) {
    OneRank rank(settings);
    for (int step = 0; step < 2; ++step) {  // libraries load, graphs are made
      rank.queue_step(micro_batches);
      rank.outcome();
    }
    QueueGate gate;
    if (stands_still) rank.operations().when_done(gate.waits());
    rank.queue_step(micro_batches);
    CHECK_FALSE(gate.gave_up());
    CHECK(rank.outbox().done == 3);
    CHECK(rank.outbox().steps.size() == 2);
    gate.open();
    return rank.outcome();
  };
  CHECK(last_loss(true) == last_loss(false));
}
