// Estimates of the loss's curvature between steps: when, and what an interruption leaves of them.
#include "tests/runtime/trainer_run.hpp"

namespace collie::test {
namespace {

TrainerSettings estimating(int64_t total_steps, int64_t interval) {
  TrainerSettings settings = two_ranks(total_steps);
  settings.estimate_due = [=](int64_t update) { return (update - 1) % interval == 0; };
  return settings;
}

// The ranks' answer to the estimate that they were given last.
void estimated(Run& run, double loss_sum = 25, double norm = 4) {
  const Program& program = *run.outbox.programs.back();
  REQUIRE(program.kind == estimate_program);
  run.core.reply({tag, program.id, {}, 0, 0, {{loss_sum_name, {loss_sum}}, {gradient_norm_name, {norm}}}});
}

TEST_CASE("trainer core: an estimate comes before its step, on the step's batch, and is not recorded",
          "[actors][trainer]") {
  Run run(estimating(9, 3));
  run.ready();
  for (int64_t step = 1; step <= 7; ++step) {
    CAPTURE(step);
    run.news();
    run.batch(step);
    if (step % 3 == 1) {
      CHECK(run.news() == Log{fmt::format("batch {}", step + 1), fmt::format("estimate {}", step)});
      const Program& estimate = *run.outbox.programs.back();
      CHECK(estimate.update == step);
      const ProgramTasks tasks = tasks_of(estimate_program, run.settings.layout, 2);
      CHECK(*estimate.lists == tasks.lists);
      const auto batches = estimate.batches;
      estimated(run, 1e6, 1e6);
      CHECK(run.news() == Log{fmt::format("train {}", step)});
      CHECK(run.outbox.programs.back()->batches == batches);
      run.done(estimate.id);
    } else {
      CHECK(run.news() == Log{fmt::format("batch {}", step + 1), fmt::format("train {}", step)});
    }
    run.stepped();
    run.last_done();
    run.recorded(step);
    CHECK(run.outbox.records.back().loss == 2.5);
    CHECK(run.outbox.records.back().grad_norm == 4.0);
  }
  CHECK(run.outbox.programs.size() == 7 + 3);
}

TEST_CASE("trainer core: steps without targets have no estimate and do not count towards the next",
          "[actors][trainer]") {
  Run run(estimating(9, 2));
  run.ready();
  run.batch(1, tag, 0);
  run.recorded(1);
  run.news();
  run.batch(2);
  CHECK(run.news() == Log{"batch 3", "estimate 2"});
  CHECK(run.outbox.programs.back()->update == 1);
  estimated(run);
  run.done(1);
  run.stepped();
  run.last_done();
  run.recorded(2);
  run.news();
  run.batch(3, tag, 0);
  run.recorded(3);
  run.batch(4);
  CHECK(run.outbox.programs.back()->kind == training_program);  // update 2
}

TEST_CASE("trainer core: an estimate that is not finite ends the run before the step", "[actors][trainer]") {
  const bool loss = GENERATE(false, true);
  Run run(estimating(9, 3));
  run.ready();
  run.batch(1);
  const double infinite = std::numeric_limits<double>::infinity();
  estimated(run, loss ? infinite : 25, loss ? 4 : infinite);
  REQUIRE(run.outbox.ends.size() == 1);
  CHECK(run.outbox.ends[0].exit_code == 1);
  CHECK_THAT(run.outbox.ends[0].message, contains("step 1"));
  CHECK_THAT(run.outbox.ends[0].message, contains(std::string(loss ? "the loss" : "the gradient norm") +
                                                  " of the estimate of the curvature is inf"));
  CHECK(run.outbox.programs.size() == 1);
}

// Up to the estimate of step 4, which the ranks compute.
void begin_fourth_step(Run& run) {
  run.ready(true);
  for (int64_t step = 1; step <= 3; ++step) {
    run.batch(step);
    if (step == 1) {
      const uint64_t estimate = run.outbox.programs.back()->id;
      estimated(run);
      run.done(estimate);
    }
    run.stepped();
    run.last_done();
    run.recorded(step);
  }
  run.batch(4);
  run.news();
}

TEST_CASE("trainer core: an estimate that is given up leaves no trace in the checkpoint",
          "[actors][trainer]") {
  Run run(estimating(9, 3));
  begin_fourth_step(run);
  const uint64_t estimate = run.outbox.programs.back()->id;
  run.core.stop(RunStatus::interrupted);
  CHECK(run.news() == Log{fmt::format("give up {}", estimate)});
  run.done_by(0, estimate, true);
  run.core.told();
  run.done_by(1, estimate, true);
  CHECK(run.outbox.snapshots.back().step == 3);
  CHECK(run.outbox.snapshots.back().estimated_step == 1);
}

TEST_CASE("trainer core: an interruption between an estimate and its step leaves a checkpoint that says so",
          "[actors][trainer]") {
  const bool in_step = GENERATE(false, true);
  Run run(estimating(9, 3));
  begin_fourth_step(run);
  const uint64_t estimate = run.outbox.programs.back()->id;
  if (!in_step) run.core.stop(RunStatus::interrupted);
  estimated(run);  // all ranks had synchronised it
  run.done(estimate);
  if (in_step) {
    const uint64_t step = run.outbox.programs.back()->id;
    run.core.stop(RunStatus::interrupted);
    run.done_by(0, step, true);
    run.core.told();
    run.done_by(1, step, true);
  }
  REQUIRE(run.outbox.snapshots.size() == 1);
  CHECK(run.outbox.snapshots[0].step == 3);
  CHECK(run.outbox.snapshots[0].estimated_step == 4);
  CHECK(run.outbox.records.size() == 3);
  run.last_done();
  run.written(3);
  REQUIRE(run.outbox.ends.size() == 1);
  CHECK(run.outbox.ends[0].exit_code == 130);
  CHECK(run.outbox.ends[0].step == 3);
}

TEST_CASE("trainer core: a resume does not repeat the estimate that its checkpoint has",
          "[actors][trainer]") {
  const bool has_it = GENERATE(false, true);
  TrainerSettings settings = estimating(9, 3);
  settings.done_steps = 3;
  settings.done_position = 12;
  settings.estimated_step = has_it ? 4 : 1;
  Run run(settings);
  run.ready();
  run.batch(4);
  CHECK(run.news() == Log{"batch 4", "batch 5", has_it ? "train 4" : "estimate 4"});
}

}  // namespace
}  // namespace collie::test
