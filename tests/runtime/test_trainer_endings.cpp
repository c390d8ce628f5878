// How runs end: by a stop, an interruption or a failure, in every phase.
#include "tests/runtime/trainer_run.hpp"

namespace collie::test {
namespace {

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
             run.recorded(2);
           },
           2}};
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
  run.recorded(1);
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

TEST_CASE("trainer core: a step that was given up is not remembered", "[actors][trainer]") {
  TrainerSettings settings = two_ranks(9);
  settings.memory = {{0}};
  settings.remember = [](std::vector<UpdateMemory>& memory, double, int64_t update) {
    memory[0][0] += static_cast<double>(update);
  };
  Run run(settings);
  run.ready(true);
  run.step(1);
  run.batch(2);  // program 2
  CHECK(run.outbox.programs.back()->memory.at(0).at(0) == 3);
  run.core.stop(RunStatus::interrupted);
  run.core.told();
  run.done_by(1, 2, true);
  run.done_by(0, 2, true);
  REQUIRE(run.outbox.snapshots.size() == 1);
  CHECK(run.outbox.snapshots[0].memory == std::vector<UpdateMemory>{{1}});
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
  run.recorded(1);
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
  run.ready(true);
  run.batch(1);
  run.stepped();
  run.last_done();
  SECTION("while one of its programs is computed") {
    run.ask(evaluator_name);
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
    run.ask(evaluator_name);
  }
  CHECK(run.news() == Log{"record 1"});
  CHECK_FALSE(run.outbox.records.at(0).evaluated);
  run.recorded(1);
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
  settings.last_record.emplace();
  settings.last_record->step = 2;
  settings.last_record->loss = 3.5;
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
  run.recorded(1);
  CHECK(run.news() == Log{"record 1", "expect 1 at 4", "snapshot 1"});
  run.written(1);
  run.batch(2);
  run.stepped();
  run.recorded(2);
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
    run.recorded(9);
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

}  // namespace
}  // namespace collie::test
