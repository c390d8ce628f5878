// When a run evaluates, and which of its steps become checkpoints because they are the best.
#include <limits>

#include "tests/runtime/trainer_run.hpp"

namespace collie::test {
namespace {

TrainerSettings evaluated_run(int64_t total_steps) {
  TrainerSettings settings = two_ranks(total_steps);
  settings.cadence.has_evaluation = true;
  return settings;
}

// Computes the step and answers all of it but an evaluation.
void compute(Run& run, int64_t step) {
  run.batch(step);
  run.stepped();
  run.last_done();
}

TEST_CASE("trainer core: the last step is evaluated before its final checkpoint", "[actors][trainer]") {
  TrainerSettings settings = evaluated_run(2);
  settings.cadence.evaluate_at_end = true;
  Run run(settings);
  run.ready();
  run.step(1);
  CHECK(std::count(run.outbox.log.begin(), run.outbox.log.end(), "evaluation 1") == 0);
  run.news();
  compute(run, 2);
  CHECK(run.news() == Log{"train 2", "evaluation 2"});
  run.evaluated(2, 1.5);
  CHECK(run.news() == Log{"evaluated 2", "record 2"});
  CHECK(run.outbox.records.back().eval_loss == 1.5);
  CHECK_FALSE(run.outbox.records.back().amended);
  run.recorded(2);
  CHECK(run.news() == Log{"expect 2 at 8 final", "snapshot 2"});
  CHECK(run.outbox.snapshots.back().evaluation == 1.5);
}

TEST_CASE("trainer core: no step is evaluated twice because it is the last", "[actors][trainer]") {
  TrainerSettings settings = evaluated_run(2);
  settings.cadence.evaluate_at_end = true;
  settings.cadence.evaluate_every = 1;
  Run run(settings);
  answer_all(run);
  REQUIRE(run.core.ended());
  REQUIRE(run.outbox.records.size() == 2);
  CHECK(run.outbox.records[0].evaluated);
  CHECK(run.outbox.records[1].evaluated);
}

TEST_CASE("trainer core: a run that is stopped is evaluated after the step that became its last",
          "[actors][trainer]") {
  TrainerSettings settings = evaluated_run(9);
  settings.cadence.evaluate_at_end = true;
  SECTION("by a callback") {
    auto callback = std::make_unique<ScriptedCallback>();
    callback->step = [](const StepFinished& step) { return step.step == 2; };
    Run run(settings, std::move(callback));
    run.ready();
    run.step(1);
    run.news();
    compute(run, 2);
    CHECK(run.news() == Log{"batch 3", "train 2", "evaluation 2"});
    run.evaluated(2);
    run.recorded(2);
    CHECK(run.news() == Log{"evaluated 2", "record 2", "expect 2 at 8 final", "snapshot 2"});
  }
  SECTION("between two steps: the record is amended, after it is written") {
    Run run(settings);
    run.ready();
    compute(run, 1);
    run.news();
    run.core.stop(RunStatus::stopped);
    CHECK(run.news().empty());
    CHECK(run.core.waiting_for() == "the monitor to write the record of step 1");
    run.recorded(1);
    CHECK(run.news() == Log{"evaluation 1"});
    run.evaluated(1, 1.5);
    CHECK(run.news() == Log{"evaluated 1", "record 1"});
    CHECK(run.outbox.records.back().amended);
    CHECK(run.outbox.records.back().loss == 2.5);
    run.recorded(1);  // of the amendment
    CHECK(run.news() == Log{"expect 1 at 4 final", "snapshot 1"});
    CHECK(run.outbox.snapshots.back().evaluation == 1.5);
  }
}

TEST_CASE("trainer core: an interrupted run is not evaluated at its end; the resumed one is, once",
          "[actors][trainer]") {
  TrainerSettings settings = evaluated_run(2);
  settings.cadence.evaluate_at_end = true;
  {
    Run run(settings);
    run.ready();
    run.step(1);
    run.batch(2);
    run.news();
    run.core.stop(RunStatus::interrupted);
    run.stepped();
    run.last_done();
    run.recorded(2);
    CHECK(run.news() == Log{"record 2", "expect 2 at 8", "snapshot 2"});
    CHECK_FALSE(run.outbox.snapshots.back().evaluation);
  }
  settings.done_steps = 2;
  settings.done_position = 8;
  settings.last_record.emplace();
  settings.last_record->step = 2;
  settings.last_record->loss = 3.5;
  SECTION("the record has no evaluation") {
    Run run(settings);
    run.ready();
    CHECK(run.news() == Log{"evaluation 2"});
    run.evaluated(2, 1.5);
    CHECK(run.news() == Log{"evaluated 2", "record 2"});  // the snapshot waits for the record
    CHECK(run.outbox.records.back().amended);
    run.recorded(2);
    CHECK(run.news() == Log{"expect 2 at 8 final", "snapshot 2"});
    CHECK(run.outbox.snapshots.back().evaluation == 1.5);
  }
  SECTION("the record has one: the final checkpoint keeps what the first one said") {
    settings.last_record->evaluated = true;
    settings.last_evaluation = 1.25;
    Run run(settings);
    run.ready();
    CHECK(run.news() == Log{"expect 2 at 8 final", "snapshot 2"});
    CHECK(run.outbox.snapshots.back().evaluation == 1.25);
  }
}

TEST_CASE("trainer core: the evaluation before the first step is the record of step 0", "[actors][trainer]") {
  TrainerSettings settings = evaluated_run(2);
  settings.cadence.evaluate_at_start = true;
  Run run(settings);
  run.ready();
  CHECK(run.news() == Log{"batch 1", "evaluation 0"});
  run.batch(1);
  CHECK(run.news().empty());
  run.evaluated(0, 4);
  CHECK(run.news() == Log{"evaluated 0", "record 0", "batch 2", "train 1"});
  const StepFinished& record = run.outbox.records.front();
  CHECK(record.step == 0);
  CHECK(record.total_steps == 2);
  CHECK_FALSE(record.loss);
  CHECK(record.evaluated);
  CHECK(record.eval_loss == 4.0);
  CHECK_FALSE(record.amended);
  run.stepped();
  CHECK(run.outbox.records.back().step == 1);
  CHECK_FALSE(run.outbox.records.back().evaluated);
}

TEST_CASE(
    "trainer core: an interrupted evaluation before the first step leaves no record, and is made up for",
    "[actors][trainer]") {
  TrainerSettings settings = evaluated_run(2);
  settings.cadence.evaluate_at_start = true;
  settings.cadence.keep_best = 1;
  {
    Run run(settings);
    run.ready();
    run.news();
    run.core.stop(RunStatus::interrupted);
    run.ask(evaluator_name);
    CHECK(run.news() == Log{"expect 0 at 0", "snapshot 0"});
    CHECK(run.outbox.records.empty());
  }
  const bool evaluated = GENERATE(false, true);  // before the interruption
  if (evaluated) {
    settings.last_record.emplace();
    settings.last_record->evaluated = true;
  }
  Run run(settings);  // from the checkpoint of step 0
  run.ready();
  CHECK(run.news() == (evaluated ? Log{"batch 1"} : Log{"batch 1", "evaluation 0"}));
}

TEST_CASE("trainer core: a step that is one of the best is saved, also where no checkpoint is due",
          "[actors][trainer]") {
  const double nan = std::numeric_limits<double>::quiet_NaN();
  const auto [keep_best, saved] = GENERATE(values<std::pair<int64_t, std::vector<int64_t>>>({
      {0, {7}},  // the last step
      {1, {1, 2, 5, 7}},
      {2, {1, 2, 3, 5, 7}},  // 3 is worse than 2, but the second of all
  }));
  CAPTURE(keep_best);
  TrainerSettings settings = evaluated_run(7);
  settings.cadence.evaluate_every = 1;
  settings.cadence.keep_best = keep_best;
  Run run(settings);
  run.ready();
  const std::vector<double> losses = {3, 2, 2.5, nan, 1, 2, 4};
  for (int64_t step = 1; step <= 7; ++step) {
    compute(run, step);
    run.evaluated(step, losses[static_cast<size_t>(step - 1)]);
    run.recorded(step);
    if (!run.outbox.snapshots.empty() && run.outbox.snapshots.back().step == step) {
      run.last_done();
      run.written(step);
    }
  }
  std::vector<int64_t> steps;
  for (const SnapshotExpected& snapshot : run.outbox.snapshots) {
    steps.push_back(snapshot.step);
    CHECK(snapshot.evaluation == losses[static_cast<size_t>(snapshot.step - 1)]);
  }
  CHECK(steps == saved);
}

TEST_CASE("trainer core: checkpoints may be compared by a metric of a set, of which higher values are better",
          "[actors][trainer]") {
  TrainerSettings settings = evaluated_run(5);
  settings.cadence.evaluate_every = 1;
  settings.cadence.keep_best = 1;
  settings.best_metric = "eval/set/accuracy";
  settings.higher_is_better = true;
  settings.best_evaluations = {0.25, 0.5};
  Run run(settings);
  run.ready();
  const std::vector<double> accuracies = {0.5, 0.75, 0.625, 0.875, 0.1};
  std::vector<int64_t> steps;
  for (int64_t step = 1; step <= 5; ++step) {
    compute(run, step);
    const double accuracy = accuracies[static_cast<size_t>(step - 1)];
    EvaluationFinished evaluation{tag, step, 100, 1.0 / static_cast<double>(step), 1};
    evaluation.metrics = {{"eval/set/accuracy_2", 9}, {"eval/set/accuracy", accuracy}};
    run.core.evaluated(evaluation);
    run.recorded(step);
    if (run.outbox.snapshots.empty() || run.outbox.snapshots.back().step != step) continue;
    steps.push_back(step);
    CHECK(run.outbox.snapshots.back().evaluation == accuracy);
    run.last_done();
    run.written(step);
  }
  CHECK(steps == std::vector<int64_t>{2, 4, 5});  // the last one is not among the best
}

TEST_CASE("trainer core: a resumed run knows what its best checkpoints have reached", "[actors][trainer]") {
  TrainerSettings settings = evaluated_run(9);
  settings.cadence.evaluate_every = 1;
  settings.cadence.keep_best = 2;
  settings.done_steps = 4;
  settings.done_position = 16;
  settings.best_evaluations = {3, 1, 2};
  Run run(settings);
  run.ready();
  const auto saves = [&](int64_t step, double loss) {
    compute(run, step);
    run.evaluated(step, loss);
    run.recorded(step);
    const bool saved = !run.outbox.snapshots.empty() && run.outbox.snapshots.back().step == step;
    if (saved) {
      run.last_done();
      run.written(step);
    }
    return saved;
  };
  CHECK_FALSE(saves(5, 2.5));  // 1 and 2 are better
  CHECK_FALSE(saves(6, 2));    // as good as the second, and later
  CHECK(saves(7, 1.5));
  CHECK_FALSE(saves(8, 1.75));
}

TEST_CASE("trainer core: without checkpoint.keep_best a checkpoint still says how its step was evaluated",
          "[actors][trainer]") {
  TrainerSettings settings = evaluated_run(4);
  settings.cadence.evaluate_every = 2;
  settings.cadence.checkpoint_every = 1;
  Run run(settings);
  run.ready();
  compute(run, 1);
  run.recorded(1);
  run.last_done();
  run.written(1);
  compute(run, 2);
  run.evaluated(2, 1.5);
  run.recorded(2);
  REQUIRE(run.outbox.snapshots.size() == 2);
  CHECK_FALSE(run.outbox.snapshots[0].evaluation);
  CHECK(run.outbox.snapshots[1].evaluation == 1.5);
}

TEST_CASE("cadence: what a run will contain", "[actors][trainer]") {
  Cadence cadence;
  cadence.has_evaluation = true;
  cadence.evaluate_every = 5;
  cadence.checkpoint_every = 100;
  CHECK_FALSE(cadence.evaluates_within(4, 16));
  CHECK(cadence.evaluates_within(5, 20));
  CHECK_FALSE(cadence.saves_before(9, 32));
  cadence.keep_best = 1;
  CHECK(cadence.saves_before(9, 32));  // step 5 may be the best
  CHECK_FALSE(cadence.saves_before(5, 16));
  cadence.evaluate_at_start = true;
  CHECK(cadence.saves_before(1, 0));
  CHECK_FALSE(cadence.checkpoint_due(0, 0, 0));
  CHECK(cadence.checkpoint_due(100, 400, 0));
  cadence.has_evaluation = false;
  CHECK_FALSE(cadence.evaluation_due(0, 0, false));
  CHECK_FALSE(cadence.saves_before(9, 32));
}

TEST_CASE("cadence: checkpoints by epochs and by the clock", "[actors][trainer]") {
  Cadence cadence;
  cadence.epochs_done = [](int64_t position) { return EpochsDone{position / 12, position % 12 == 0}; };
  cadence.checkpoint_every_epochs = 2;
  CHECK_FALSE(cadence.checkpoint_due(3, 12, 0));
  CHECK_FALSE(cadence.checkpoint_due(5, 20, 0));
  CHECK(cadence.checkpoint_due(6, 24, 0));
  CHECK_FALSE(cadence.saves_before(6, 20));
  CHECK(cadence.saves_before(7, 24));
  cadence.checkpoint_every_epochs = 0;
  cadence.checkpoint_every_s = 60;
  CHECK_FALSE(cadence.checkpoint_due(3, 12, 59.9));
  CHECK(cadence.checkpoint_due(3, 12, 60));
  CHECK_FALSE(cadence.checkpoint_due(0, 0, 60));
  CHECK_FALSE(cadence.saves_before(1, 0));
  CHECK(cadence.saves_before(2, 4));
}

TEST_CASE("trainer core: a checkpoint is due so long after the last one", "[actors][trainer]") {
  TrainerSettings settings = two_ranks(9);
  settings.cadence.checkpoint_every_s = 100;
  Run run(settings);
  run.outbox.clock = 1000;
  run.ready();
  for (int64_t step = 1; step <= 5; ++step) {
    run.outbox.clock += 40;
    run.step(step);
    if (step != 3) continue;  // 120 s after the start
    run.last_done();
    run.written(3);
  }
  std::vector<int64_t> saved;
  for (const SnapshotExpected& snapshot : run.outbox.snapshots) saved.push_back(snapshot.step);
  CHECK(saved == std::vector<int64_t>{3});
}

}  // namespace
}  // namespace collie::test
