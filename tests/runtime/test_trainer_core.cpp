#include <fmt/format.h>

#include <cmath>
#include <limits>

#include "runtime/trainer_core.hpp"
#include "tests/catch.hpp"
#include "tests/io/matchers.hpp"
#include "tests/runtime/recorders.hpp"

namespace collie::test {
namespace {

constexpr RunTag tag{7, 1};

// Writes down what the trainer asks for: "batch 1", "train 1" (a program), "snapshot program 2", ...
class RecordingTrainerOutbox final : public TrainerOutbox {
 public:
  Log log;
  double clock = 0;
  std::vector<ProgramPtr> programs;
  std::vector<StepFinished> records;
  std::vector<SnapshotExpected> snapshots;
  std::vector<std::string> warnings;
  std::vector<RunEnded> ends;

  double now_s() override { return clock; }
  void request_batch(int64_t step) override { log.push_back(fmt::format("batch {}", step)); }
  void broadcast(ProgramPtr program) override {
    log.push_back(fmt::format("{} {}", name(program->kind), program->step));
    programs.push_back(std::move(program));
  }
  void give_up(uint64_t program) override { log.push_back(fmt::format("give up {}", program)); }
  void cut() override { log.push_back("cut"); }
  void evaluate(int64_t step) override { log.push_back(fmt::format("evaluation {}", step)); }
  void generate() override { log.push_back("generation"); }
  void forward(const EvaluationReport& report) override {
    log.push_back(fmt::format("loss sum {}", static_cast<double>(report.loss_sum)));
  }
  void forward(const TokenReport& report) override { log.push_back(fmt::format("token {}", report.token)); }
  void expect_snapshot(const SnapshotExpected& expected) override {
    log.push_back(
        fmt::format("expect {} at {}{}", expected.step, expected.position, expected.final ? " final" : ""));
    snapshots.push_back(expected);
  }
  void record(const StepFinished& step) override {
    log.push_back(fmt::format("record {}", step.step));
    records.push_back(step);
  }
  void trace(const ProgramDone&) override { log.push_back("trace"); }
  void announce(const EvaluationFinished& evaluation) override {
    log.push_back(fmt::format("evaluated {}", evaluation.step));
  }
  void announce(const CheckpointSaved& checkpoint) override {
    log.push_back(fmt::format("saved {}", checkpoint.step));
  }
  void warn(const std::string& what) override { warnings.push_back(what); }
  void end(RunEnded outcome) override {
    log.push_back("end");
    ends.push_back(std::move(outcome));
  }
};

struct ScriptedCallback final : Callback {
  std::function<bool(const StepFinished&)> step = [](const StepFinished&) { return false; };
  std::function<void(const EvaluationFinished&)> evaluation = [](const EvaluationFinished&) {};
  bool on_step(const StepFinished& finished) override { return step(finished); }
  void on_evaluation(const EvaluationFinished& finished) override { evaluation(finished); }
};

TrainerSettings two_ranks(int64_t total_steps) {
  TrainerSettings settings;
  settings.tag = tag;
  settings.layout.grid.pipeline = settings.layout.stages = 2;
  settings.layout.rank_of_stage = {0, 1};
  settings.total_steps = total_steps;
  settings.cadence.sequences_per_epoch = 12;
  settings.learning_rate = 0.5;
  settings.schedule = [](int64_t step, int64_t total) {
    return static_cast<double>(step) / static_cast<double>(total);
  };
  return settings;
}

// A trainer core and everybody it talks to, who answer when the test says so.
struct Run {
  explicit Run(const TrainerSettings& s, std::unique_ptr<Callback> callback = nullptr)
      : settings(s), core(s, callbacks_of(std::move(callback)), outbox) {}

  static std::vector<std::unique_ptr<Callback>> callbacks_of(std::unique_ptr<Callback> callback) {
    std::vector<std::unique_ptr<Callback>> all;
    if (callback) all.push_back(std::move(callback));
    return all;
  }

  void ready(bool gives_up = false) {
    for (int rank = 0; rank < 2; ++rank) core.ready({tag, rank, gives_up});
  }
  // A step of four sequences and ten targets.
  void batch(int64_t step, const RunTag& from = tag, int64_t targets = 10) {
    auto batch = std::make_shared<StepBatch>();
    batch->step = step;
    batch->position = 4 * (step - 1);
    batch->next_position = 4 * step;
    batch->epoch = (step - 1) / 3;
    batch->global_target_tokens = targets;
    batch->micro_batches.resize(2);
    core.batch({from, 0, batch});
  }
  void stepped(double loss_sum = 25, double norm = 4, const RunTag& from = tag) {
    uint64_t program = 0;
    for (const auto& asked : outbox.programs)
      if (asked->kind == ProgramKind::train) program = asked->id;
    core.stepped({from, program, loss_sum, norm});
  }
  void done(uint64_t program, const RunTag& from = tag) {
    for (int rank = 0; rank < 2; ++rank) {
      ProgramDone report;
      report.tag = from;
      report.rank = rank;
      report.program = program;
      report.busy_s = 1.5;
      report.summary.current_total_bytes = 100;
      core.done(report);
    }
  }
  void last_done() { done(outbox.programs.back()->id); }
  void done_by(int rank, uint64_t program, bool given_up) {
    ProgramDone report;
    report.tag = tag;
    report.rank = rank;
    report.program = program;
    report.given_up = given_up;
    core.done(report);
  }
  void step(int64_t number) {
    batch(number);
    stepped();
    last_done();
    core.recorded(number);
  }
  void evaluated(int64_t step, double loss = 2) { core.evaluated({step, 100, loss, std::exp(loss)}); }
  void written(int64_t step) { core.written({tag, step, "folder"}); }
  // What has been asked for since the last call.
  Log news() { return std::exchange(outbox.log, {}); }

  TrainerSettings settings;
  RecordingTrainerOutbox outbox;
  TrainerCore core;
};

TEST_CASE("trainer core: batches are asked for one step ahead, a step at a time", "[actors][trainer]") {
  Run run(two_ranks(3));
  CHECK(run.core.waiting_for() == "rank 0 to get ready (0 of 2 are)");
  run.core.ready({tag, 1});
  CHECK(run.core.waiting_for() == "rank 0 to get ready (1 of 2 are)");
  CHECK(run.news().empty());  // not before every rank is ready
  run.core.ready({tag, 0});
  CHECK(run.news() == Log{"batch 1"});
  CHECK(run.core.waiting_for() == "the batch of step 1 from the loader");
  run.batch(1);
  CHECK(run.news() == Log{"batch 2", "train 1"});
  CHECK(run.core.waiting_for().empty());  // the ranks are at work
  run.batch(2);                           // early
  CHECK(run.news().empty());
  run.stepped();
  CHECK(run.news() == Log{"record 1", "batch 3", "train 2"});
  run.done(1);
  run.batch(3);
  run.stepped();
  CHECK(run.news() == Log{"record 2", "train 3"});  // there is no fourth batch
}

TEST_CASE("trainer core: what a step's record and program say", "[actors][trainer]") {
  Run run(two_ranks(4));
  run.outbox.clock = 100;
  run.ready();
  run.batch(1);
  run.outbox.clock = 102;
  run.stepped(25, 4);
  REQUIRE(run.outbox.records.size() == 1);
  const StepFinished& record = run.outbox.records[0];
  CHECK(record.step == 1);
  CHECK(record.total_steps == 4);
  CHECK(record.epoch == 0);
  CHECK(record.loss == 2.5);  // 25 / 10 targets
  CHECK(record.grad_norm == 4.0);
  CHECK(record.lr == 0.125);  // 0.5 · 1/4
  CHECK(record.tokens == 10);
  CHECK(record.step_s == 2.0);
  CHECK(record.tokens_per_second == 5.0);
  CHECK_FALSE(record.evaluated);
  CHECK(run.outbox.programs[0]->step == 1);
  CHECK(run.outbox.programs[0]->lr == 0.125);
  run.done(1);
  run.batch(2);
  run.stepped();
  CHECK(run.outbox.records[1].memory_bytes == 200);  // of both ranks, as they said after step 1
  CHECK(run.core.busy_seconds() == std::vector<double>{1.5, 1.5});
}

TEST_CASE("trainer core: the training program has the lists and limits of its schedule",
          "[actors][trainer]") {
  Run run(two_ranks(1));
  run.ready();
  run.batch(1);
  const Program& program = *run.outbox.programs.at(0);
  std::vector<int> limits;
  const TaskLists expected = training_tasks(run.settings.layout, 2, limits);
  CHECK(program.id == 1);
  CHECK(program.activation_limits == limits);
  REQUIRE(program.lists->size() == 2);
  for (size_t rank = 0; rank < 2; ++rank) {
    REQUIRE((*program.lists)[rank].size() == expected[rank].size());
    for (size_t i = 0; i < expected[rank].size(); ++i)
      CHECK(to_string((*program.lists)[rank][i]) == to_string(expected[rank][i]));
  }
}

TEST_CASE("trainer core: a whole run, its last snapshot final", "[actors][trainer]") {
  Run run(two_ranks(2));
  run.ready();
  run.step(1);
  run.news();
  run.batch(2);
  run.stepped();
  CHECK(run.news() == Log{"train 2", "record 2"});  // no snapshot before the record is written
  CHECK(run.core.waiting_for() == "the monitor to write the record of step 2");
  run.core.recorded(2);
  CHECK(run.news() == Log{"expect 2 at 8 final", "snapshot 2"});
  run.last_done();
  run.written(2);
  CHECK(run.news() == Log{"saved 2"});
  CHECK(run.outbox.ends.empty());  // the training program is not done yet
  run.done(2);
  CHECK(run.news() == Log{"end"});
  REQUIRE(run.core.ended());
  CHECK(run.outbox.ends[0].status == RunStatus::completed);
  CHECK(run.outbox.ends[0].exit_code == 0);
  CHECK(run.outbox.ends[0].step == 2);
}

TEST_CASE("trainer core: the run waits for whoever comes last", "[actors][trainer]") {
  Run run(two_ranks(1));
  run.ready();
  run.batch(1);
  run.stepped();
  run.core.recorded(1);
  run.done(1);
  SECTION("the writer") {
    run.done(2);
    CHECK(run.outbox.ends.empty());
    CHECK(run.core.waiting_for() == "the checkpoint writer to finish step 1");
    run.written(1);
  }
  SECTION("a rank") {
    run.written(1);
    run.core.done({tag, 0, 2, 0, {}, {}});
    CHECK(run.outbox.ends.empty());
    run.core.done({tag, 1, 2, 0, {}, {}});
  }
  CHECK(run.outbox.ends.size() == 1);
}

TEST_CASE("trainer core: evaluation is due by steps", "[actors][trainer]") {
  TrainerSettings settings = two_ranks(4);
  settings.cadence.has_evaluation = true;
  settings.cadence.evaluate_every = 2;
  Run run(settings);
  run.ready();
  run.step(1);
  run.news();
  run.batch(2);
  run.stepped();
  CHECK(run.news() == Log{"batch 3", "train 2", "evaluation 2"});  // the record waits for it
  run.batch(3);
  ProgramRequest request;
  request.tag = tag;
  auto batch = std::make_shared<StepBatch>();
  batch->micro_batches.resize(3);
  request.batch = batch;
  run.core.request(request);
  CHECK(run.news() == Log{"evaluate 2"});
  CHECK(run.outbox.programs.back()->batches.at(0) == batch);
  CHECK(run.outbox.programs.back()->lists->at(1).back().kind == TaskKind::report_evaluation);
  run.core.evaluation({tag, 0, run.outbox.programs.back()->id, 12.5});
  CHECK(run.news() == Log{"loss sum 12.5"});
  run.evaluated(2, 1.25);
  CHECK(run.news() == Log{"evaluated 2", "record 2", "batch 4"});
  REQUIRE(run.outbox.records.size() == 2);
  CHECK(run.outbox.records[1].evaluated);
  CHECK(run.outbox.records[1].eval_loss == 1.25);
  run.done(2);
  run.done(3);
  CHECK(run.news() == Log{"train 3"});  // it waited for a slot
}

TEST_CASE("trainer core: evaluation is due by epochs, once where both are due", "[actors][trainer]") {
  TrainerSettings settings = two_ranks(12);
  settings.cadence.has_evaluation = true;
  settings.cadence.evaluate_every_epochs = 2;  // of three steps
  settings.cadence.evaluate_every = GENERATE(0, 6);
  Run run(settings);
  run.ready();
  for (int64_t step = 1; step <= 5; ++step) run.step(step);
  CHECK(std::count(run.outbox.log.begin(), run.outbox.log.end(), "evaluation 3") == 0);
  run.news();
  run.batch(6);
  run.stepped();
  const Log log = run.news();
  CHECK(std::count(log.begin(), log.end(), "evaluation 6") == 1);
  run.evaluated(6);
  run.last_done();
  CHECK(run.outbox.records.back().step == 6);
}

TEST_CASE("trainer core: without evaluation data there is no evaluation", "[actors][trainer]") {
  TrainerSettings settings = two_ranks(2);
  settings.cadence.evaluate_every = 1;
  Run run(settings);
  run.ready();
  run.step(1);
  CHECK(std::count(run.outbox.log.begin(), run.outbox.log.end(), "evaluation 1") == 0);
}

TEST_CASE("trainer core: the evaluation's time is not the next step's", "[actors][trainer]") {
  TrainerSettings settings = two_ranks(3);
  settings.cadence.has_evaluation = true;
  settings.cadence.evaluate_every = 1;
  Run run(settings);
  run.ready();
  run.batch(1);
  run.outbox.clock = 1;
  run.stepped();
  run.outbox.clock = 51;
  run.evaluated(1);
  run.done(1);
  run.batch(2);
  run.outbox.clock = 53;
  run.stepped();
  run.evaluated(2);
  CHECK(run.outbox.records[0].step_s == 1.0);
  CHECK(run.outbox.records[1].step_s == 2.0);
}

TEST_CASE("trainer core: checkpoints every few steps, each after its record", "[actors][trainer]") {
  TrainerSettings settings = two_ranks(4);
  settings.cadence.checkpoint_every = 2;
  Run run(settings);
  run.ready();
  run.step(1);
  run.news();
  run.batch(2);
  run.batch(3);
  run.stepped();
  CHECK(run.news() == Log{"batch 3", "train 2", "record 2"});
  run.done(2);
  run.core.recorded(2);
  CHECK(run.news() ==
        Log{"expect 2 at 8", "snapshot 2", "batch 4", "train 3"});  // training goes on meanwhile
}

TEST_CASE("trainer core: the next snapshot waits for the writer", "[actors][trainer]") {
  TrainerSettings settings = two_ranks(3);
  settings.cadence.checkpoint_every = 1;
  Run run(settings);
  run.ready();
  run.step(1);  // snapshot of step 1 is being written
  run.done(2);
  run.news();
  run.batch(2);
  run.stepped();
  run.last_done();
  run.core.recorded(2);
  CHECK(run.core.waiting_for() == "the checkpoint writer to finish before the snapshot of step 2");
  CHECK(run.news() == Log{"batch 3", "train 2", "record 2"});
  run.written(1);
  run.batch(3);
  CHECK(run.news() == Log{"saved 1", "expect 2 at 8", "snapshot 2", "train 3"});
}

TEST_CASE("trainer core: the monitor may be a few records behind, and no more", "[actors][trainer]") {
  TrainerSettings settings = two_ranks(9);
  settings.monitor_credits = 2;
  Run run(settings);
  run.ready();
  for (int64_t step = 1; step <= 2; ++step) {
    run.batch(step);
    run.stepped();
    run.last_done();
  }
  run.batch(3);
  CHECK(run.outbox.programs.size() == 2);
  CHECK(run.core.waiting_for() == "the monitor to write the record of step 2");
  run.core.recorded(1);
  CHECK(run.outbox.programs.size() == 3);
}

TEST_CASE("trainer core: a rank holds two programs at most", "[actors][trainer]") {
  Run run(two_ranks(9));
  run.ready();
  for (int64_t step = 1; step <= 3; ++step) {
    run.batch(step);
    if (step < 3) run.stepped();
  }
  CHECK(run.outbox.programs.size() == 2);  // neither rank is done with the first
  run.core.done({tag, 0, 1, 0, {}, {}});
  CHECK(run.outbox.programs.size() == 2);
  run.core.done({tag, 1, 1, 0, {}, {}});
  CHECK(run.outbox.programs.size() == 3);
  CHECK(run.outbox.programs[2]->id == 3);
  CHECK_THAT(assertion_of([&] {
               run.core.done({tag, 1, 1, 0, {}, {}});
             }),
             contains("rank 1 is done with program 1, which is not running"));
}

// --- stopping

// Brings a run into each phase in turn.
struct PhaseCase {
  const char* name;
  std::function<void(Run&)> enter;
  int64_t step;  // computed, or being computed
};

std::vector<PhaseCase> phases() {
  return {{"starting", [](Run&) {}, 0},
          {"batch", [](Run& run) { run.ready(); }, 0},
          {"computing",
           [](Run& run) {
             run.ready();
             run.batch(1);
           },
           1},
          {"evaluating",
           [](Run& run) {
             run.ready();
             run.batch(1);
             run.stepped();
             run.last_done();
           },
           1},
          {"recording",
           [](Run& run) {
             run.ready();
             run.batch(1);
             run.stepped();
             run.last_done();
             run.evaluated(1);
           },
           1},
          {"saving",
           [](Run& run) {
             run.ready();
             run.step(1);
             run.evaluated(1);
             run.done(2);
             run.batch(2);
             run.stepped();
             run.last_done();
             run.evaluated(2);
             run.core.recorded(2);
           },
           2}};
}

TrainerSettings everything_every_step() {
  TrainerSettings settings = two_ranks(9);
  settings.cadence.has_evaluation = true;
  settings.cadence.evaluate_every = settings.cadence.checkpoint_every = 1;
  return settings;
}

// Answers whatever the core asks for, until it asks for nothing. What it has asked for in the log is not
// answered yet; of the programs, those from `first_program` on are not.
void answer_all(Run& run, size_t first_program = 0) {
  run.ready();
  for (int round = 0; round < 100 && !run.core.ended(); ++round) {
    for (; first_program < run.outbox.programs.size(); ++first_program) {
      const ProgramPtr program = run.outbox.programs[first_program];
      if (program->kind == ProgramKind::train) run.stepped();
      run.done(program->id);
      if (program->kind == ProgramKind::snapshot) run.written(program->step);
    }
    for (const auto& line : run.news()) {
      int64_t step = 0;
      if (std::sscanf(line.c_str(), "batch %ld", &step) == 1) run.batch(step);
      if (std::sscanf(line.c_str(), "evaluation %ld", &step) == 1) run.evaluated(step);
      if (std::sscanf(line.c_str(), "record %ld", &step) == 1) run.core.recorded(step);
    }
  }
}

TEST_CASE("trainer core: stopping ends after the step that is being computed, with a final model",
          "[actors][trainer]") {
  for (const PhaseCase& phase : phases()) {
    INFO(phase.name);
    Run run(everything_every_step());
    phase.enter(run);
    run.news();
    run.core.stop(RunStatus::stopped);
    run.core.stop(RunStatus::stopped);
    // What was asked for before the stop is still answered.
    size_t answered = run.outbox.programs.size();
    if (phase.name == std::string("computing")) answered = 0;
    if (phase.name == std::string("evaluating")) run.outbox.log.push_back("evaluation 1");
    if (phase.name == std::string("recording")) run.outbox.log.push_back("record 1");
    if (phase.name == std::string("saving")) run.written(1);
    if (phase.name == std::string("batch")) answered = 0;  // the snapshot of step 0, asked for at once
    answer_all(run, answered);
    REQUIRE(run.outbox.ends.size() == 1);
    CHECK(run.outbox.ends[0].status == RunStatus::stopped);
    CHECK(run.outbox.ends[0].exit_code == 0);
    CHECK(run.outbox.ends[0].step == phase.step);
  }
}

TEST_CASE("trainer core: a stop while a step is computed saves that step", "[actors][trainer]") {
  const RunStatus why = GENERATE(RunStatus::stopped, RunStatus::interrupted);
  Run run(two_ranks(9));
  run.ready();
  run.batch(1);
  run.core.stop(why);
  run.news();
  run.stepped();
  run.last_done();
  run.core.recorded(1);
  CHECK(run.news() ==
        Log{"record 1", why == RunStatus::stopped ? "expect 1 at 4 final" : "expect 1 at 4", "snapshot 1"});
  run.last_done();
  run.written(1);
  REQUIRE(run.outbox.ends.size() == 1);
  CHECK(run.outbox.ends[0].status == why);
  CHECK(run.outbox.ends[0].exit_code == (why == RunStatus::stopped ? 0 : 130));
}

TEST_CASE("trainer core: an interruption outranks a polite stop, and not the other way round",
          "[actors][trainer]") {
  Run run(two_ranks(9));
  run.ready();
  run.batch(1);
  if (GENERATE(true, false)) {
    run.core.stop(RunStatus::stopped);
    run.core.stop(RunStatus::interrupted);
  } else {
    run.core.stop(RunStatus::interrupted);
    run.core.stop(RunStatus::stopped);
  }
  answer_all(run);
  REQUIRE(run.outbox.ends.size() == 1);
  CHECK(run.outbox.ends[0].status == RunStatus::interrupted);
}

TEST_CASE("trainer core: a stop where the last checkpoint is that step's adds the final model to it",
          "[actors][trainer]") {
  TrainerSettings settings = two_ranks(9);
  settings.cadence.checkpoint_every = 1;
  Run run(settings);
  run.ready();
  run.step(1);
  run.done(2);
  run.written(1);
  run.news();
  SECTION("stopped") {
    run.core.stop(RunStatus::stopped);
    CHECK(run.news() == Log{"expect 1 at 4 final", "snapshot 1"});
    run.last_done();
    run.written(1);
    CHECK(run.outbox.ends.at(0).status == RunStatus::stopped);
  }
  SECTION("interrupted: nothing is left to write") {
    run.core.stop(RunStatus::interrupted);
    CHECK(run.news() == Log{"end"});
    CHECK(run.outbox.ends.at(0).exit_code == 130);
  }
}

// --- giving up

TEST_CASE("trainer core: an interruption gives the step up, and saves the one before", "[actors][trainer]") {
  Run run(two_ranks(9));
  run.ready(true);
  run.step(1);
  run.batch(2);  // program 2
  run.news();
  run.core.stop(RunStatus::interrupted);
  run.core.stop(RunStatus::interrupted);
  CHECK(run.news() == Log{"give up 2"});
  SECTION("the ranks' waits are ended once all have heard and one has given up") {
    run.core.told();
    CHECK(run.news().empty());
    run.done_by(1, 2, true);
    CHECK(run.news() == Log{"cut"});
  }
  SECTION("whichever comes first") {
    run.done_by(1, 2, true);
    CHECK(run.news().empty());
    run.core.told();
    CHECK(run.news() == Log{"cut"});
  }
  run.done_by(0, 2, true);
  CHECK(run.news() == Log{"expect 1 at 4", "snapshot 1"});
  run.last_done();
  run.written(1);
  REQUIRE(run.outbox.ends.size() == 1);
  CHECK(run.outbox.ends[0].status == RunStatus::interrupted);
  CHECK(run.outbox.ends[0].step == 1);
}

TEST_CASE("trainer core: waits are not ended while a rank is at an earlier program", "[actors][trainer]") {
  TrainerSettings settings = two_ranks(9);
  settings.cadence.checkpoint_every = 1;
  Run run(settings);
  run.ready(true);
  run.step(1);   // program 1, then a snapshot
  run.batch(2);  // program 3
  run.core.stop(RunStatus::interrupted);
  run.core.told();
  run.news();
  run.done_by(0, 2, false);
  run.done_by(0, 3, true);
  CHECK(run.news().empty());
  run.done_by(1, 2, false);
  CHECK(run.news() == Log{"cut"});
}

TEST_CASE("trainer core: a step that its ranks finish nevertheless counts", "[actors][trainer]") {
  Run run(two_ranks(9));
  run.ready(true);
  run.batch(1);
  run.core.stop(RunStatus::interrupted);
  run.core.told();
  run.news();
  run.stepped();
  run.last_done();
  run.core.recorded(1);
  CHECK(run.news() == Log{"record 1", "expect 1 at 4", "snapshot 1"});
  run.last_done();
  run.written(1);
  CHECK(run.outbox.ends.at(0).step == 1);
}

TEST_CASE("trainer core: an interruption gives an evaluation up, and its step counts", "[actors][trainer]") {
  TrainerSettings settings = two_ranks(9);
  settings.cadence.has_evaluation = true;
  settings.cadence.evaluate_every = 1;
  Run run(settings);
  const auto ask = [&] {
    ProgramRequest request;
    request.tag = tag;
    auto batch = std::make_shared<StepBatch>();
    batch->micro_batches.resize(2);
    request.batch = batch;
    run.core.request(request);
  };
  run.ready(true);
  run.batch(1);
  run.stepped();
  run.last_done();
  SECTION("while one of its programs is computed") {
    ask();
    run.news();
    run.core.stop(RunStatus::interrupted);
    CHECK(run.news() == Log{"give up 2"});
    run.done_by(0, 2, false);
    run.done_by(1, 2, true);
  }
  SECTION("between two of them") {
    run.news();
    run.core.stop(RunStatus::interrupted);
    CHECK(run.news().empty());
    ask();
  }
  CHECK(run.news() == Log{"record 1"});
  CHECK_FALSE(run.outbox.records.at(0).evaluated);
  run.core.recorded(1);
  CHECK(run.news() == Log{"expect 1 at 4", "snapshot 1"});
  run.last_done();
  run.written(1);
  CHECK(run.outbox.ends.at(0).exit_code == 130);
}

TEST_CASE("trainer core: an evaluation that was given up is made up for when the run goes on",
          "[actors][trainer]") {
  TrainerSettings settings = two_ranks(9);
  settings.cadence.has_evaluation = true;
  settings.cadence.evaluate_every = 2;
  settings.done_steps = 2;
  settings.done_position = 8;
  settings.unevaluated.emplace();
  settings.unevaluated->step = 2;
  settings.unevaluated->loss = 3.5;
  Run run(settings);
  run.ready();
  CHECK(run.news() == Log{"batch 3", "evaluation 2"});
  run.evaluated(2);
  CHECK(run.news() == Log{"evaluated 2", "record 2"});
  CHECK(run.outbox.records.at(0).amended);
  CHECK(run.outbox.records.at(0).evaluated);
  CHECK(run.outbox.records.at(0).loss == 3.5);
  run.batch(3);
  CHECK(run.news() == Log{"batch 4", "train 3"});
}

TEST_CASE("trainer core: a checkpoint that was asked for is written after the step", "[actors][trainer]") {
  Run run(two_ranks(9));
  run.ready();
  run.batch(1);
  run.core.save();
  run.core.save();  // twice is once
  run.news();
  run.stepped();
  run.last_done();
  run.core.recorded(1);
  CHECK(run.news() == Log{"record 1", "expect 1 at 4", "snapshot 1"});
  run.written(1);
  run.batch(2);
  run.stepped();
  run.core.recorded(2);
  CHECK(run.news() == Log{"saved 1", "batch 3", "train 2", "record 2"});
}

// --- failures

TEST_CASE("trainer core: a failure ends the run once, in every phase", "[actors][trainer]") {
  for (const PhaseCase& phase : phases()) {
    INFO(phase.name);
    Run run(everything_every_step());
    phase.enter(run);
    run.core.fail({tag, FailureKind::run, "rank 1", "disk on fire"});
    run.news();
    run.core.fail({tag, FailureKind::run, "rank 0", "too late"});
    run.core.stop(RunStatus::interrupted);
    // Messages that were on their way.
    run.ready();
    run.batch(1);
    run.written(1);
    run.core.recorded(9);
    run.evaluated(1);
    if (!run.outbox.programs.empty()) {
      run.stepped();
      run.last_done();
    }
    CHECK(run.news().empty());
    REQUIRE(run.outbox.ends.size() == 1);
    CHECK(run.outbox.ends[0].status == RunStatus::failed);
    CHECK(run.outbox.ends[0].exit_code == 1);
    CHECK(run.outbox.ends[0].message == "rank 1: disk on fire");
    CHECK(run.outbox.ends[0].step == phase.step);
    CHECK(run.core.waiting_for().empty());
  }
}

TEST_CASE("trainer core: wrong input has an exit code of its own", "[actors][trainer]") {
  Run run(two_ranks(1));
  run.core.fail({tag, FailureKind::input, "rank 0", "model.safetensors: no such tensor"});
  CHECK(run.outbox.ends.at(0).exit_code == 2);
}

TEST_CASE("trainer core: a loss or norm that is no number ends the run", "[actors][trainer]") {
  static constexpr double nan = std::numeric_limits<double>::quiet_NaN(),
                          inf = std::numeric_limits<double>::infinity();
  const auto [loss, norm, words] = GENERATE(
      std::tuple(nan, 4.0, "the loss is nan"), std::tuple(inf, 4.0, "the loss is inf"),
      std::tuple(25.0, nan, "the gradient norm is nan"), std::tuple(25.0, inf, "the gradient norm is inf"));
  Run run(two_ranks(9));
  run.ready();
  run.step(1);
  run.batch(2);
  run.news();
  run.stepped(loss, norm);
  CHECK(run.news() == Log{"end"});
  CHECK(run.outbox.records.size() == 1);
  CHECK_THAT(run.outbox.ends.at(0).message,
             contains("step 2: ") && contains(words) && contains("after step 1"));
}

TEST_CASE("trainer core: a step without any target is recorded without a loss, and nothing is computed",
          "[actors][trainer]") {
  TrainerSettings settings = two_ranks(4);
  settings.cadence.checkpoint_every = 2;
  Run run(settings);
  run.ready();
  run.step(1);
  run.news();
  run.batch(2, tag, 0);
  CHECK(run.news() == Log{"batch 3", "record 2"});
  const StepFinished& record = run.outbox.records.at(1);
  CHECK_FALSE(record.loss);
  CHECK(record.grad_norm == 0.0);
  CHECK(record.tokens == 0);
  CHECK(record.lr == 0.25);  // the schedule goes on
  run.core.recorded(2);
  CHECK(run.news() == Log{"expect 2 at 8", "snapshot 2"});
  CHECK(run.outbox.snapshots.back().steps_without_targets == 1);
  run.last_done();
  run.written(2);
  run.news();
  run.batch(3);
  CHECK(run.news() == Log{"batch 4", "train 3"});
  CHECK(run.outbox.programs.back()->update == 2);  // the optimizer has seen one so far
  run.stepped();
  run.last_done();
  run.core.recorded(3);
  REQUIRE(run.outbox.warnings.size() == 1);
  CHECK_THAT(run.outbox.warnings[0], contains("step 2 has no target tokens"));
  run.batch(4, tag, 0);
  run.core.recorded(4);
  run.last_done();
  run.written(4);
  REQUIRE(run.outbox.ends.size() == 1);
  REQUIRE(run.outbox.warnings.size() == 2);
  CHECK_THAT(run.outbox.warnings[1], contains("2 of 4 steps had no target tokens"));
}

TEST_CASE("trainer core: many steps without targets follow each other, up to what the monitor is behind",
          "[actors][trainer]") {
  TrainerSettings settings = two_ranks(9);
  settings.monitor_credits = 3;
  Run run(settings);
  run.ready();
  for (int64_t step = 1; step <= 5; ++step) run.batch(step, tag, 0);
  CHECK(run.outbox.records.size() == 3);
  run.core.recorded(3);
  CHECK(run.outbox.records.size() == 5);
  CHECK(run.outbox.programs.empty());
}

TEST_CASE("trainer core: a resumed run counts the steps without targets of before", "[actors][trainer]") {
  TrainerSettings settings = two_ranks(9);
  settings.done_steps = 5;
  settings.done_position = 20;
  settings.done_without_targets = 2;
  Run run(settings);
  run.ready();
  run.batch(6);
  CHECK(run.outbox.programs.back()->step == 6);
  CHECK(run.outbox.programs.back()->update == 4);
  run.core.stop(RunStatus::stopped);
  run.stepped();
  run.last_done();
  run.core.recorded(6);
  run.last_done();
  run.written(6);
  REQUIRE(run.outbox.warnings.size() == 1);
  CHECK_THAT(run.outbox.warnings[0], contains("2 of 6 steps"));
}

TEST_CASE("trainer core: a callback may stop the run at a step without targets", "[actors][trainer]") {
  auto callback = std::make_unique<ScriptedCallback>();
  callback->step = [](const StepFinished& step) { return !step.loss; };
  Run run(two_ranks(9), std::move(callback));
  run.ready();
  run.news();
  run.batch(1, tag, 0);
  CHECK(run.news() == Log{"batch 2", "record 1"});
  run.core.recorded(1);
  CHECK(run.news() == Log{"expect 1 at 4 final", "snapshot 1"});
}

TEST_CASE("trainer core: an epoch's end is where the data end, whatever sizes its steps had",
          "[actors][trainer]") {
  TrainerSettings settings = two_ranks(9);
  settings.cadence.has_evaluation = true;
  settings.cadence.evaluate_every_epochs = 1;
  settings.done_steps = 1;  // of eight sequences
  settings.done_position = 8;
  Run run(settings);
  run.ready();
  auto last = std::make_shared<StepBatch>();
  last->step = 2;
  last->position = 8;
  last->next_position = 12;
  last->global_target_tokens = 10;
  last->micro_batches.resize(2);
  run.core.batch({tag, 0, last});
  run.news();
  run.stepped();
  CHECK(run.news() == Log{"evaluation 2"});
}

// --- callbacks

TEST_CASE("trainer core: a callback stops the run early", "[actors][trainer]") {
  auto callback = std::make_unique<ScriptedCallback>();
  std::vector<int64_t> seen;
  callback->step = [&](const StepFinished& step) {
    seen.push_back(step.step);
    return step.step == 2;
  };
  Run run(two_ranks(9), std::move(callback));
  answer_all(run);
  CHECK(seen == std::vector<int64_t>{1, 2});
  REQUIRE(run.outbox.ends.size() == 1);
  CHECK(run.outbox.ends[0].status == RunStatus::stopped);
  CHECK(run.outbox.ends[0].step == 2);
}

TEST_CASE("trainer core: a callback that throws fails the run, and is named", "[actors][trainer]") {
  auto callback = std::make_unique<ScriptedCallback>();
  callback->step = [](const StepFinished&) -> bool { throw std::runtime_error("no room for plots"); };
  Run run(two_ranks(9), std::move(callback));
  answer_all(run);
  REQUIRE(run.outbox.ends.size() == 1);
  CHECK(run.outbox.ends[0].status == RunStatus::failed);
  CHECK(run.outbox.ends[0].message == "callback at step 1: no room for plots");
  CHECK(run.outbox.records.empty());
}

TEST_CASE("trainer core: a callback that throws on an evaluation fails the run, and is named",
          "[actors][trainer]") {
  auto callback = std::make_unique<ScriptedCallback>();
  callback->evaluation = [](const EvaluationFinished&) { throw std::runtime_error("no room for plots"); };
  Run run(everything_every_step(), std::move(callback));
  answer_all(run);
  REQUIRE(run.outbox.ends.size() == 1);
  CHECK(run.outbox.ends[0].message == "callback at step 1: no room for plots");
}

// --- resuming

TEST_CASE("trainer core: a resumed run goes on behind its checkpoint", "[actors][trainer]") {
  TrainerSettings settings = two_ranks(7);
  settings.done_steps = 5;
  settings.done_position = 20;
  Run run(settings);
  run.ready();
  CHECK(run.news() == Log{"batch 6"});
  run.batch(6);
  CHECK(run.outbox.programs.at(0)->step == 6);
  CHECK(run.outbox.programs.at(0)->id == 1);
  CHECK(run.outbox.programs.at(0)->lr == 0.5 * 6 / 7);
  run.stepped();
  run.last_done();
  run.core.recorded(6);
  run.news();
  run.step(7);
  CHECK(run.outbox.log[run.outbox.log.size() - 2] == "expect 7 at 28 final");
}

TEST_CASE("trainer core: a run that was checkpointed at its last step only lacks the final model",
          "[actors][trainer]") {
  TrainerSettings settings = two_ranks(5);
  settings.done_steps = 5;
  settings.done_position = 20;
  Run run(settings);
  run.ready();
  CHECK(run.news() == Log{"expect 5 at 20 final", "snapshot 5"});
  run.last_done();
  run.written(5);
  CHECK(run.outbox.ends.at(0).status == RunStatus::completed);
  CHECK(run.outbox.ends.at(0).step == 5);
}

TEST_CASE("trainer core: fewer steps than the checkpoint has end the run at once", "[actors][trainer]") {
  TrainerSettings settings = two_ranks(3);
  settings.done_steps = 5;
  settings.done_position = 20;
  Run run(settings);
  answer_all(run);
  CHECK(run.outbox.records.empty());
  CHECK(run.outbox.ends.at(0).status == RunStatus::completed);
}

// --- stale messages

TEST_CASE("trainer core: messages of another run or generation are dropped", "[actors][trainer]") {
  const RunTag other = GENERATE(RunTag{8, 1}, RunTag{7, 2});
  Run run(two_ranks(9));
  run.core.ready({other, 0});
  run.core.ready({other, 1});
  CHECK(run.news().empty());
  run.ready();
  run.batch(1, other);
  CHECK(run.outbox.programs.empty());
  run.batch(1);
  run.news();
  run.stepped(25, 4, other);
  run.done(1, other);
  run.core.request({other, ProgramKind::evaluate, std::make_shared<StepBatch>(), {}, 0, 0});
  run.core.evaluation({other, 0, 1, 1.0});
  run.core.token({other, 1, 1});
  run.core.generated({other});
  run.core.written({other, 1, "folder"});
  run.core.fail({other, FailureKind::run, "rank 0", "somebody else's"});
  CHECK(run.news().empty());
  run.stepped();
  CHECK(run.outbox.records.size() == 1);
}

// --- evaluation and generation alone

TEST_CASE("trainer core: evaluation alone", "[actors][trainer]") {
  TrainerSettings settings = two_ranks(0);
  settings.purpose = Purpose::evaluate;
  Run run(settings);
  run.ready();
  CHECK(run.news() == Log{"evaluation 0"});
  ProgramRequest request;
  request.tag = tag;
  auto batch = std::make_shared<StepBatch>();
  batch->micro_batches.resize(1);
  request.batch = batch;
  run.core.request(request);
  run.core.evaluation({tag, 0, 1, 3.0});
  run.evaluated(0);
  CHECK(run.outbox.ends.empty());
  run.done(1);
  CHECK(run.outbox.ends.at(0).status == RunStatus::completed);
}

TEST_CASE("trainer core: generation alone", "[actors][trainer]") {
  TrainerSettings settings = two_ranks(0);
  settings.purpose = Purpose::generate;
  Run run(settings);
  run.ready();
  CHECK(run.news() == Log{"generation"});
  ProgramRequest request;
  request.tag = tag;
  request.kind = ProgramKind::generate;
  request.cache_capacity = 12;
  request.sampling_index = 3;
  auto batch = std::make_shared<StepBatch>();
  batch->micro_batches.resize(1);
  request.batch = batch;
  run.core.request(request);
  const Program& program = *run.outbox.programs.at(0);
  CHECK(program.kind == ProgramKind::generate);
  CHECK(program.cache_capacity == 12);
  CHECK(program.sampling_index == 3);
  CHECK(program.lists->at(1).back().kind == TaskKind::sample);
  run.core.token({tag, 1, 65});
  CHECK(run.outbox.log.back() == "token 65");
  run.done(1);
  run.core.generated({tag});
  CHECK(run.outbox.ends.at(0).status == RunStatus::completed);
}

TEST_CASE("trainer core: evaluation and generation end at once when they are stopped", "[actors][trainer]") {
  TrainerSettings settings = two_ranks(0);
  settings.purpose = GENERATE(Purpose::evaluate, Purpose::generate);
  const RunStatus why = GENERATE(RunStatus::stopped, RunStatus::interrupted);
  Run run(settings);
  run.ready();
  run.core.stop(why);
  REQUIRE(run.outbox.ends.size() == 1);
  CHECK(run.outbox.ends[0].status == why);
  CHECK(run.outbox.ends[0].exit_code == (why == RunStatus::interrupted ? 130 : 0));
}

}  // namespace
}  // namespace collie::test
