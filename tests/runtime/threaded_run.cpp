#include "tests/runtime/threaded_run.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <memory>
#include <optional>
#include <variant>

#include "plan/evaluation_sets.hpp"
#include "plan/settings.hpp"
#include "runtime/stage_core.hpp"
#include "runtime/trainer_core.hpp"
#include "tests/comm/collective_thread.hpp"
#include "tests/runtime/agent.hpp"

namespace collie::test {
namespace {

constexpr RunTag threaded_tag{1, 1};

// --- messages

struct TakeTurn {};
struct OutcomeKnown {};
struct AllTold {};
using RankMessage = std::variant<TakeTurn, ProgramPtr, Payload, Credit, OutcomeKnown, GiveUp>;
using TrainerMessage =
    std::variant<RankReady, BatchReady, ProgramReply, ProgramDone, ProgramRequest, EvaluationFinished,
                 GenerationFinished, SnapshotWritten, StepRecorded, AllTold, RunStatus, Failure, RankStep>;
using WriterMessage = std::variant<SnapshotExpected, SnapshotPart, StepRecorded>;
using LoaderMessage = int64_t;  // the step wanted

// What is handled, as a Failure of `who`.
Failure failure_of(const std::string& who) {
  Failure failure{threaded_tag, FailureKind::run, who, "unknown exception"};
  try {
    throw;
  } catch (const std::exception& error) {
    failure.cause = error.what();
  } catch (...) {
  }
  return failure;
}

// --- the writer

template <class T>
void copy_slice(const CheckpointSlice& slice, std::vector<double>& whole) {
  const T* const data = slice.data.data<T>();
  const bool matrix = slice.global_shape.rank() == 2;
  const int64_t columns = matrix ? slice.data.dim(1) : 1, global_columns = matrix ? slice.global_shape[1] : 1;
  for (int64_t i = 0; i < slice.data.numel(); ++i) {
    const int64_t row = slice.offsets[0] + i / columns,
                  column = (matrix ? slice.offsets[1] : 0) + i % columns;
    whole[static_cast<size_t>(row * global_columns + column)] = static_cast<double>(data[i]);
  }
}

// Reads a snapshot as late as a writer may: while the ranks update their weights for the next step. The last
// one when all of it is there.
class Writer {
 public:
  Writer(size_t ranks, Mailbox<TrainerMessage>& trainer, ThreadedOutcome& outcome)
      : ranks_(ranks), trainer_(trainer), outcome_(outcome) {}

  void operator()(WriterMessage& message) {
    std::visit([this](auto& content) { handle(content); }, message);
    const bool late_enough = expected_ && (expected_->final || recorded_ > expected_->step);
    if (late_enough && parts_.size() == ranks_) read();
  }

 private:
  void handle(const SnapshotExpected& expected) {
    COLLIE_ASSERT(!expected_, "a snapshot is expected while another is held");
    expected_ = expected;
  }
  void handle(SnapshotPart& part) {
    COLLIE_ASSERT(expected_ && part.step == expected_->step, "rank {} gave a snapshot of step {}", part.rank,
                  part.step);
    parts_.push_back(std::move(part));
  }
  void handle(const StepRecorded& recorded) { recorded_ = std::max(recorded_, recorded.step); }

  void read() {
    outcome_.states.clear();
    for (const SnapshotPart& part : std::exchange(parts_, {}))
      for (const CheckpointSlice& slice : part.slices) {
        std::vector<double>& whole = outcome_.states[{slice.name, slice.state}];
        whole.resize(static_cast<size_t>(slice.global_shape.numel()), NAN);
        slice.data.dtype() == DType::f64 ? copy_slice<double>(slice, whole) : copy_slice<float>(slice, whole);
      }
    outcome_.snapshots[expected_->step] = outcome_.states;
    trainer_.push(SnapshotWritten{threaded_tag, std::exchange(expected_, {})->step, ""});
  }

  size_t ranks_;
  Mailbox<TrainerMessage>& trainer_;
  ThreadedOutcome& outcome_;  // its states, until the trainer has the last SnapshotWritten
  std::optional<SnapshotExpected> expected_;
  std::vector<SnapshotPart> parts_;
  int64_t recorded_ = 0;
};

// --- the run

class ThreadedRun final : private TrainerOutbox {
 public:
  ThreadedRun(const RunPlan& plan, const std::function<void(const std::function<void()>&)>& with_interrupt,
              const Guests& guests);
  ~ThreadedRun() override { end_all("the run is given up"); }
  ThreadedOutcome run();

 private:
  class Outbox;
  class Stage;
  struct Rank {
    explicit Rank(RankGroups groups) : connections(std::move(groups)) {}
    Connections connections;
    RankStatus status;
    std::shared_ptr<CollectiveThread> data_reducer, context_reducer;  // where the rank is not alone
    Agent<RankMessage> agent{64};
  };

  void add_rank(int rank, RankGroups groups);
  std::function<void()> failure_to_trainer(const std::string& who) {
    return [this, who] { mail_.push(failure_of(who)); };
  }
  Rank& rank(int number) { return *ranks_[static_cast<size_t>(number)]; }
  void end_all(const std::string& cause);

  double now_s() override { return steady_seconds(); }
  void request_batch(int64_t step) override {
    for (auto& loader : loaders_) loader->send(step);
  }
  void broadcast(ProgramPtr program) override {
    for (auto& rank : ranks_) rank->agent.send(program);
  }
  void give_up(uint64_t program) override {
    for (auto& rank : ranks_) {
      rank->connections.give_up(program);
      rank->agent.send(GiveUp{threaded_tag, program});
    }
    mail_.push(AllTold{});
  }
  void cut() override {
    for (auto& rank : ranks_) rank->connections.abort("given up");
  }
  void evaluate(int64_t step) override {
    evaluator_->start(step);
    go_on_evaluating();
  }
  void generate() override { COLLIE_ASSERT(false, "these runs do not generate"); }
  void answer(const ProgramReply& reply) override {
    if (reply.request.requester == evaluator_name) return add_to_evaluation(reply);
    const auto& [guest, asker] = guests_.at(reply.request.requester);
    COLLIE_ASSERT(asker->accept(reply), "a stale reply for {}", reply.request.requester);
    guest->take(reply);
    mail_.push(guest->next(*asker));
  }
  void add_to_evaluation(const ProgramReply& reply) {
    COLLIE_ASSERT(evaluator_asks_.accept(reply), "a stale reply for the evaluator");
    evaluator_->add(reply);
    go_on_evaluating();
  }
  void go_on_evaluating() {
    if (auto request = evaluator_->next(evaluator_asks_)) return mail_.push(*std::move(request));
    if (evaluator_->decodes()) mail_.push(GenerationFinished{threaded_tag, evaluator_name});
    EvaluationFinished result = evaluator_->result();
    result.tag = threaded_tag;
    mail_.push(std::move(result));
  }
  void expect_snapshot(const SnapshotExpected& expected) override { writer_.send(expected); }
  void record(const StepFinished& step) override {
    outcome_.losses.push_back(step.loss.value_or(0.0));
    outcome_.norms.push_back(step.grad_norm);
    outcome_.measures.push_back(step.measures);
    mail_.push(StepRecorded{threaded_tag, step.step});
    writer_.send(StepRecorded{threaded_tag, step.step});
  }
  void trace(const ProgramDone&) override {}
  void announce(const EvaluationFinished& evaluation) override {
    outcome_.evaluations.push_back(evaluation.loss);
    outcome_.results.push_back(evaluation.metrics);
  }
  void announce(const CheckpointSaved&) override {}
  void warn(const std::string&) override {}
  void end(RunEnded outcome) override { outcome_.end = std::move(outcome); }

  const RunPlan& plan_;
  ThreadedOutcome outcome_;
  Mailbox<TrainerMessage> mail_{512};
  std::unique_ptr<Evaluation> evaluator_;
  Asker evaluator_asks_{threaded_tag, evaluator_name};
  std::map<std::string, std::pair<Guest*, std::unique_ptr<Asker>>> guests_;
  TrainerCore core_;
  Agent<WriterMessage> writer_{64};
  std::vector<std::unique_ptr<Rank>> ranks_;
  std::vector<std::unique_ptr<Agent<LoaderMessage>>> loaders_;
};

// A rank's messages, to the mailboxes of the others.
class ThreadedRun::Outbox final : public StageOutbox {
 public:
  Outbox(ThreadedRun& run, int rank) : run_(run), own_(run.rank(rank).agent) {}
  void send(int rank, Payload payload) override { run_.rank(rank).agent.send(std::move(payload)); }
  void send(int rank, Credit credit) override { run_.rank(rank).agent.send(credit); }
  void report(ProgramReply reply) override { run_.mail_.push(std::move(reply)); }
  void report(ProgramDone done) override { run_.mail_.push(std::move(done)); }
  void measured(RankStep step) override { run_.mail_.push(std::move(step)); }
  void deliver(SnapshotPart part) override { run_.writer_.send(std::move(part)); }
  std::function<void()> outcome_notifier() override {
    return [this] { own_.send(OutcomeKnown{}); };
  }

 private:
  ThreadedRun& run_;
  Agent<RankMessage>& own_;
};

// The behaviour of actors/stage.cpp: a task a turn, mail between them.
class ThreadedRun::Stage {
 public:
  Stage(ThreadedRun& run, int rank)
      : connections_(run.rank(rank).connections),
        agent_(run.rank(rank).agent),
        outbox_(run, rank),
        worker_(worker_settings(run.plan_, rank, run.rank(rank).connections.groups())),
        core_({threaded_tag, rank, run.plan_.layout.rank_of_stage, run.plan_.credits, true,
               run.plan_.layout.grid.pipeline_group(rank), run.plan_.layout.grid.place_of(rank).tensor == 0},
              worker_, outbox_, run.rank(rank).status) {
    run.mail_.push(RankReady{threaded_tag, rank, worker_.gives_up()});
  }

  void operator()(RankMessage& message) {
    std::visit([this](auto& content) { handle(content); }, message);
    if (turn_pending_ || !core_.ready()) return;
    turn_pending_ = true;
    agent_.send(TakeTurn{});
  }

 private:
  void handle(TakeTurn) {
    turn_pending_ = false;
    try {
      core_.execute();
    } catch (const std::exception&) {
      if (!core_.give_up_running(connections_.given_up())) throw;
    }
  }
  void handle(const GiveUp& message) { core_.give_up(message.program); }
  void handle(ProgramPtr& program) { core_.enqueue(std::move(program)); }
  void handle(Payload& payload) { core_.arrive(std::move(payload)); }
  void handle(Credit& credit) { core_.credit(credit); }
  void handle(OutcomeKnown) { core_.on_outcome_ready(); }

  const Connections& connections_;
  Agent<RankMessage>& agent_;
  Outbox outbox_;
  ModelWorker worker_;
  StageCore core_;
  bool turn_pending_ = false;
};

ThreadedRun::ThreadedRun(const RunPlan& plan,
                         const std::function<void(const std::function<void()>&)>& with_interrupt,
                         const Guests& guests)
    : plan_(plan), core_(trainer_settings(plan, threaded_tag), make_callbacks(plan.config), *this) {
  for (const auto& [name, guest] : guests) {
    auto asker = std::make_unique<Asker>(threaded_tag, name);
    mail_.push(guest->next(*asker));
    guests_[name] = {guest, std::move(asker)};
  }
  if (with_interrupt) with_interrupt([this] { mail_.push(RunStatus::interrupted); });
  const Grid& grid = plan.layout.grid;
  if (has_evaluation(plan)) evaluator_ = make_evaluation(plan);
  writer_.start([this, ranks = static_cast<size_t>(grid.ranks())] { return Writer(ranks, mail_, outcome_); },
                failure_to_trainer("writer"));
  auto groups = make_local_groups(grid, static_cast<int>(plan.model.architecture.num_key_value_heads),
                                  std::vector<int>(static_cast<size_t>(grid.ranks()), 0), 0, {});
  for (RankGroups& of_rank : groups) {
    Rank& rank = *ranks_.emplace_back(std::make_unique<Rank>(of_rank));
    const auto queue_of = [](const std::shared_ptr<MeteredGroup>& group,
                             std::shared_ptr<CollectiveThread>& reducer) {
      if (!group) return std::shared_ptr<CollectiveQueue>();
      reducer = std::make_shared<CollectiveThread>(group, max_collectives_in_flight);
      return std::shared_ptr<CollectiveQueue>(reducer, &reducer->queue());
    };
    of_rank.data_queue = queue_of(of_rank.data, rank.data_reducer);
    of_rank.context_queue = queue_of(of_rank.context, rank.context_reducer);
    rank.connections.set_groups(of_rank);
  }
  for (int replica = 0; replica < grid.data; ++replica) {
    auto& loader = *loaders_.emplace_back(std::make_unique<Agent<LoaderMessage>>(1));
    loader.start(
        [this, replica] {
          return [this, replica](LoaderMessage& step) {
            mail_.push(BatchReady{threaded_tag, replica, training_batch(plan_, step, replica)});
          };
        },
        failure_to_trainer(fmt::format("loader {}", replica)));
  }
  // Last, when everybody is there that a rank may write to.
  for (int number = 0; number < grid.ranks(); ++number)
    rank(number).agent.start(
        [this, number] {
          return
              [stage = std::make_shared<Stage>(*this, number)](RankMessage& message) { (*stage)(message); };
        },
        failure_to_trainer(fmt::format("rank {}", number)));
}

// As the node does: where something has failed, every wait in a collective is cancelled first.
void ThreadedRun::end_all(const std::string& cause) {
  if (!cause.empty())
    for (auto& rank : ranks_) rank->connections.abort(cause);
  for (auto& rank : ranks_) rank->agent.end();
  for (auto& rank : ranks_) rank->agent.join();
  for (auto& loader : loaders_) loader->join();
  writer_.join();
}

ThreadedOutcome ThreadedRun::run() {
  struct Handler {
    TrainerCore& core;
    Agent<WriterMessage>& writer;
    void operator()(RankReady& ready) { core.ready(ready); }
    void operator()(BatchReady& ready) { core.batch(std::move(ready)); }
    void operator()(ProgramReply& reply) { core.reply(reply); }
    void operator()(ProgramDone& done) { core.done(done); }
    void operator()(RankStep& step) { core.measured(step); }
    void operator()(ProgramRequest& request) { core.request(std::move(request)); }
    void operator()(EvaluationFinished& result) { core.evaluated(result); }
    void operator()(GenerationFinished& finished) { core.generated(finished); }
    void operator()(SnapshotWritten& written) { core.written(written); }
    void operator()(StepRecorded& recorded) { core.recorded(recorded); }
    void operator()(AllTold&) { core.told(); }
    void operator()(RunStatus& why) {
      writer.send(StepRecorded{threaded_tag, std::numeric_limits<int64_t>::max()});  // none may follow
      core.stop(why);
    }
    void operator()(Failure& failure) { core.fail(failure); }
  };
  while (!core_.ended()) {
    const auto message = mail_.pop();
    std::visit(Handler{core_, writer_}, *message);
  }
  end_all(outcome_.end.message);
  return std::move(outcome_);
}

}  // namespace

ThreadedOutcome run_on_threads(const RunPlan& plan,
                               const std::function<void(const std::function<void()>&)>& with_interrupt,
                               const Guests& guests) {
  return ThreadedRun(plan, with_interrupt, guests).run();
}

}  // namespace collie::test
