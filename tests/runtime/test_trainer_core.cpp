// What comes next in a run: batches, steps, evaluations, checkpoints, resumes.
#include "tests/runtime/trainer_run.hpp"

namespace collie::test {
namespace {

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
  CHECK(run.outbox.programs[0]->lr_factor == 0.25);
  run.done(1);
  run.batch(2);
  run.stepped();
  CHECK(run.outbox.records[1].memory_bytes == 200);  // of both ranks, as they said after step 1
  CHECK(run.core.busy_seconds() == std::vector<double>{1.5, 1.5});
}

TEST_CASE("trainer core: a step's record has what the ranks reported and what was waited for",
          "[actors][trainer][monitor]") {
  TrainerSettings settings = two_ranks(4);
  settings.meter.peak_flops = 100;
  settings.work = [](const auto& batches) { return 50.0 * static_cast<double>(batches.size()); };
  Run run(settings);
  run.outbox.clock = 100;
  run.ready();
  run.outbox.clock = 101;  // a second for the batch
  run.batch(1);
  for (int rank = 0; rank < 2; ++rank) {
    RankStep report;
    report.tag = tag;
    report.rank = rank;
    report.busy_s = 1.0;
    report.communicating_s = 0.5;
    run.core.measured(report);
    report.tag = RunTag{1, 1};  // of another run
    run.core.measured(report);
  }
  run.outbox.clock = 104;
  run.stepped(25, 4);
  REQUIRE(run.outbox.records.size() == 1);
  const StepMeasures& measures = run.outbox.records[0].measures;
  CHECK(measures.data_wait_share == 0.25);
  CHECK(measures.compute_share == 0.125);
  CHECK(measures.communication_share == 0.125);
  CHECK(measures.bubble_share == 0.5);
  CHECK(measures.model_flops_per_second == 12.5);
  CHECK(measures.mfu == 0.125);
  CHECK(measures.watches_ranks);
  CHECK(measures.ranks.empty());  // no sink wants them
  CHECK(measures.group_norms.empty());
  // Nobody has reported the next step. It is recorded all the same.
  run.done(1);
  run.batch(2);
  run.outbox.clock = 106;
  run.stepped(25, 4);
  CHECK(std::isnan(run.outbox.records[1].measures.compute_share));
  CHECK(run.outbox.records[1].measures.data_wait_share == 0.0);
}

TEST_CASE("trainer core: the training program has the lists and limits of its schedule",
          "[actors][trainer]") {
  Run run(two_ranks(1));
  run.ready();
  run.batch(1);
  const Program& program = *run.outbox.programs.at(0);
  const auto [expected, limits] = tasks_of(training_program, run.settings.layout, 2);
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
  run.recorded(2);
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
  run.recorded(1);
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
  const ProgramRequest request = run.request_of(evaluator_name, 1, evaluation_program, 3);
  run.core.request(request);
  CHECK(run.news() == Log{"evaluate 2"});
  CHECK(run.outbox.programs.back()->batches.at(0) == request.batch);
  CHECK(run.outbox.programs.back()->lists->at(1).back().kind == TaskKind::report_losses);
  run.reply(*run.outbox.programs.back(), loss_sum_name, 12.5);
  CHECK(run.news() == Log{"loss_sum 12.5 for evaluator 1"});
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
  run.recorded(2);
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
  run.recorded(2);
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
  run.recorded(1);
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
  run.recorded(2);
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
  run.recorded(3);
  REQUIRE(run.outbox.warnings.size() == 1);
  CHECK_THAT(run.outbox.warnings[0], contains("step 2 has no target tokens"));
  run.batch(4, tag, 0);
  run.recorded(4);
  run.last_done();
  run.written(4);
  REQUIRE(run.outbox.ends.size() == 1);
  REQUIRE(run.outbox.warnings.size() == 2);
  CHECK_THAT(run.outbox.warnings[1], contains("2 of 4 steps had no target tokens"));
}

TEST_CASE(
    "trainer core: programs and snapshots have what updates remember, and steps without targets add nothing",
    "[actors][trainer]") {
  TrainerSettings settings = two_ranks(4);
  settings.cadence.checkpoint_every = 1;
  settings.memory = {{}, {100}};
  settings.remember = [](std::vector<UpdateMemory>& memory, double lr_factor, int64_t update) {
    memory[1][0] += lr_factor + 10 * static_cast<double>(update);
  };
  Run run(settings);
  run.ready();
  run.step(1);
  CHECK(run.outbox.programs[0]->memory.at(0).empty());
  CHECK(run.outbox.programs[0]->memory.at(1).at(0) == 110.25);
  CHECK(run.outbox.snapshots.back().memory == std::vector<UpdateMemory>{{}, {110.25}});
  run.last_done();
  run.written(1);
  run.batch(2, tag, 0);
  run.recorded(2);
  CHECK(run.outbox.snapshots.back().memory == std::vector<UpdateMemory>{{}, {110.25}});
  run.last_done();
  run.written(2);
  run.batch(3);
  CHECK(run.outbox.programs.back()->memory.at(1).at(0) == 131);
}

TEST_CASE("trainer core: many steps without targets follow each other, up to what the monitor is behind",
          "[actors][trainer]") {
  TrainerSettings settings = two_ranks(9);
  settings.monitor_credits = 3;
  Run run(settings);
  run.ready();
  for (int64_t step = 1; step <= 5; ++step) run.batch(step, tag, 0);
  CHECK(run.outbox.records.size() == 3);
  run.recorded(3);
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
  run.recorded(6);
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
  run.recorded(1);
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
  CHECK(run.outbox.ends[0].message == "callback scripted at step 1: no room for plots");
  CHECK(run.outbox.records.empty());
}

TEST_CASE("trainer core: a callback that throws on an evaluation fails the run, and is named",
          "[actors][trainer]") {
  auto callback = std::make_unique<ScriptedCallback>();
  callback->evaluation = [](const EvaluationFinished&) { throw std::runtime_error("no room for plots"); };
  Run run(everything_every_step(), std::move(callback));
  answer_all(run);
  REQUIRE(run.outbox.ends.size() == 1);
  CHECK(run.outbox.ends[0].message == "callback scripted at step 1: no room for plots");
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
  CHECK(run.outbox.programs.at(0)->lr_factor == 6.0 / 7);
  run.stepped();
  run.last_done();
  run.recorded(6);
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
  ProgramRequest stale = run.request_of("somebody", 1, evaluation_program);
  stale.tag = other;
  run.core.request(stale);
  run.core.reply({other, 1, {"somebody", 1}, 0, 0, {{loss_sum_name, {1.0}}}});
  run.core.generated({other, generator_name});
  run.core.written({other, 1, "folder"});
  run.core.recorded({other, 1});
  run.core.evaluated({other, 1, 100, 2.0, 7.0});
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
  run.ask(evaluator_name);
  run.reply(*run.outbox.programs.at(0), loss_sum_name, 3);
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
  ProgramRequest request = run.request_of(generator_name, 1, generation_program, 1);
  request.decoding.next = {{0, 12, {}, 3, {}}};
  run.core.request(request);
  const Program& program = *run.outbox.programs.at(0);
  CHECK(program.kind == generation_program);
  REQUIRE(program.decoding.next.size() == 1);
  CHECK(program.decoding.next[0].capacity == 12);
  CHECK(program.decoding.next[0].index == 3);
  CHECK(program.lists->at(1).back().kind == TaskKind::sample);
  run.reply(program, tokens_name, 65);
  CHECK(run.outbox.log.back() == "tokens 65 for generator 1");
  run.done(1);
  run.core.generated({tag, generator_name});
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
