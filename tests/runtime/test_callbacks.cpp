// The engine's callbacks, and when which event is called, on a trainer's core.
#include <fmt/format.h>

#include <cmath>
#include <limits>

#include "runtime/callback.hpp"
#include "tests/runtime/trainer_run.hpp"

namespace collie::test {

namespace {

constexpr double not_a_number = std::numeric_limits<double>::quiet_NaN();

// Writes down its events.
struct Events final : Callback {
  explicit Events(Log& to) : log(to) {}
  void on_initialised(const RunFacts& facts) override {
    log.push_back(
        fmt::format("initialised {} of {}, {} ranks", facts.done_steps, facts.total_steps, facts.ranks));
  }
  void on_model_ready() override { log.push_back("model ready"); }
  void on_train_begin() override { log.push_back("train begins"); }
  void on_train_end() override { log.push_back("train ends"); }
  void on_epoch_begin(int64_t epoch) override { log.push_back(fmt::format("epoch {} begins", epoch)); }
  void on_epoch_end(int64_t epoch) override { log.push_back(fmt::format("epoch {} ends", epoch)); }
  StepLimits on_step_begin(int64_t step) override {
    log.push_back(fmt::format("step {} begins", step));
    return {};
  }
  void on_step(const StepFinished& step) override {
    log.push_back(fmt::format("step {} ends{}", step.step, step.skipped ? " skipped" : ""));
  }
  Remedy on_rejected(const RejectedStep& step) override {
    log.push_back(fmt::format("step {} is rejected: {}; {}", step.step, step.what, step.data));
    return Remedy::none;
  }
  void on_evaluation_begin(int64_t step) override {
    log.push_back(fmt::format("evaluation {} begins", step));
  }
  void on_evaluation(const EvaluationFinished& of) override {
    log.push_back(fmt::format("evaluation {} ends", of.step));
  }
  void on_save_model(int64_t step) override { log.push_back(fmt::format("model of {} is saved", step)); }
  nlohmann::json save_state() const override {
    log.push_back("state is saved");
    return {{"events", log.size()}};
  }
  void load_state(const nlohmann::json& state) override { log.push_back("state is loaded: " + state.dump()); }
  Log& log;
};

std::unique_ptr<Callback> made(const std::string& name, const OptionValues& options = {}) {
  return callbacks().find(name)(options_in_force(CallbackConfig{name, options}));
}

nlohmann::json states_of(const SnapshotExpected& snapshot) {
  return snapshot.callbacks.empty() ? nlohmann::json::object() : nlohmann::json::parse(snapshot.callbacks);
}

// A step whose global batch has ten targets.
void step_with(Run& run, int64_t number, double loss, double norm = 4) {
  run.batch(number);
  run.stepped(10 * loss, norm);
  run.last_done();
  run.recorded(number);
}

}  // namespace

TEST_CASE("callbacks: every event comes once, and in its place", "[runtime][callbacks]") {
  Log log;
  TrainerSettings settings = two_ranks(4);  // of four sequences; twelve are an epoch
  settings.cadence.has_evaluation = true;
  settings.cadence.evaluate_every = 2;
  settings.cadence.checkpoint_every = 3;
  Run run(settings, std::make_unique<Events>(log));
  answer_all(run);
  CHECK(log == Log{"initialised 0 of 4, 2 ranks",
                   "model ready",
                   "train begins",
                   "epoch 0 begins",
                   "step 1 begins",
                   "step 1 ends",
                   "step 2 begins",
                   "step 2 ends",
                   "evaluation 2 begins",
                   "evaluation 2 ends",
                   "step 3 begins",
                   "step 3 ends",
                   "epoch 0 ends",
                   "state is saved",
                   "epoch 1 begins",
                   "step 4 begins",
                   "step 4 ends",
                   "evaluation 4 begins",
                   "evaluation 4 ends",
                   "model of 4 is saved",
                   "state is saved",
                   "train ends"});
}

TEST_CASE("callbacks: a resumed run gives each callback its own state before the training begins",
          "[runtime][callbacks]") {
  Log log;
  TrainerSettings settings = two_ranks(5);
  settings.done_steps = 4;
  settings.done_position = 16;
  settings.callback_states = {{"scripted", {{"events", 14}}}, {"another", 3}};
  Run run(settings, std::make_unique<Events>(log));
  run.ready();
  CHECK(log == Log{"initialised 4 of 5, 2 ranks", "model ready", "state is loaded: {\"events\":14}",
                   "train begins"});
}

TEST_CASE("callbacks: a state that cannot be read refuses the run, and is named", "[runtime][callbacks]") {
  TrainerSettings settings = two_ranks(5);
  settings.done_steps = 4;
  settings.callback_states = {{"scripted", {{"worse", "much"}}}};
  Run run(settings, made("early_stopping"));
  run.ready();
  REQUIRE(run.outbox.ends.size() == 1);
  CHECK(run.outbox.ends[0].exit_code == 2);
  CHECK_THAT(run.outbox.ends[0].message, contains("callback scripted") && contains("step 4"));
}

// --- steps that update nothing

TEST_CASE("callbacks: without a guard a step that is not finite ends the run as before",
          "[runtime][callbacks]") {
  Log log;
  Run run(two_ranks(5), std::make_unique<Events>(log));
  run.ready();
  run.batch(1);
  run.stepped(not_a_number);
  CHECK(log.back() == "step 1 is rejected: loss is nan; sequences 1 to 4 of the data");
  REQUIRE(run.outbox.ends.size() == 1);
  CHECK(run.outbox.ends[0].status == RunStatus::failed);
  CHECK_THAT(run.outbox.ends[0].message, contains("step 1: the loss is nan; the weights were left"));
}

TEST_CASE("non_finite_guard: a step that is not finite is skipped and makes no update",
          "[runtime][callbacks]") {
  Run run(two_ranks(9), made("non_finite_guard", {{"most_in_a_row", int64_t{2}}}));
  run.ready();
  step_with(run, 1, 2.5);
  step_with(run, 2, 2.5, not_a_number);
  step_with(run, 3, not_a_number);
  step_with(run, 4, 2.25);
  run.batch(5);
  REQUIRE(run.outbox.records.size() == 4);
  CHECK_FALSE(run.outbox.records[0].skipped);
  CHECK(run.outbox.records[1].skipped);
  CHECK(static_cast<double>(*run.outbox.records[1].loss) == 2.5);
  CHECK(run.outbox.records[2].skipped);
  CHECK_FALSE(run.outbox.records[2].loss);
  CHECK_FALSE(run.outbox.records[3].skipped);
  CHECK(run.outbox.programs.back()->step == 5);
  CHECK(run.outbox.programs.back()->update == 3);
  REQUIRE(run.outbox.warnings.size() == 2);
  CHECK_THAT(run.outbox.warnings[0], contains("step 2: the gradient norm is nan") &&
                                         contains("sequences 5 to 8") && contains("1 of at most 2"));
}

TEST_CASE("non_finite_guard: more such steps in a row than allowed end the run as failed",
          "[runtime][callbacks]") {
  Run run(two_ranks(9), made("non_finite_guard", {{"most_in_a_row", int64_t{2}}}));
  run.ready();
  step_with(run, 1, not_a_number);
  step_with(run, 2, not_a_number);
  run.batch(3);
  run.stepped(not_a_number);
  REQUIRE(run.outbox.ends.size() == 1);
  CHECK(run.outbox.ends[0].status == RunStatus::failed);
}

TEST_CASE("non_finite_guard: stop ends the run with the weights from before the step",
          "[runtime][callbacks]") {
  Run run(two_ranks(9), made("non_finite_guard", {{"action", std::string("stop")}}));
  run.ready();
  step_with(run, 1, 2.5);
  run.batch(2);
  run.news();
  run.stepped(not_a_number);
  CHECK(run.news() == Log{"expect 1 at 4 final", "snapshot 1"});
  run.done(run.outbox.programs.at(1)->id);
  run.last_done();
  run.written(1);
  REQUIRE(run.outbox.ends.size() == 1);
  CHECK(run.outbox.ends[0].status == RunStatus::stopped);
  CHECK(run.outbox.ends[0].step == 1);
}

TEST_CASE("spike_guard: the ranks get limits made of the last steps, and what is above is skipped",
          "[runtime][callbacks]") {
  const OptionValues options{{"loss_deviations", 3.0},
                             {"norm_factor", 2.0},
                             {"window", int64_t{3}},
                             {"first_steps", int64_t{3}},
                             {"most_in_a_row", int64_t{1}}};
  Run run(two_ranks(20), made("spike_guard", options));
  run.ready();
  constexpr double none = std::numeric_limits<double>::max();
  for (int64_t step = 1; step <= 3; ++step) {
    step_with(run, step, 2 + 0.5 * static_cast<double>(step), 4);
    CHECK(static_cast<double>(run.outbox.programs.back()->most_loss_sum) == none);
  }
  // The losses 2.5, 3, 3.5 have the mean 3 and the deviation 0.5; ten targets.
  run.batch(4);
  CHECK(static_cast<double>(run.outbox.programs.back()->most_loss_sum) == 45);
  CHECK(static_cast<double>(run.outbox.programs.back()->most_norm) == 8);
  run.stepped(45.5, 4);
  run.last_done();
  run.recorded(4);
  REQUIRE(run.outbox.warnings.size() == 1);
  CHECK_THAT(run.outbox.warnings[0],
             contains("spike_guard: step 4: the loss is 4.55, above 4.5") && contains("sequences 13 to 16"));
  CHECK(run.outbox.records.back().skipped);
  CHECK(static_cast<double>(*run.outbox.records.back().loss) == 4.55);
  // The second in a row is taken as it is, and then the level is the new one.
  run.batch(5);
  CHECK(static_cast<double>(run.outbox.programs.back()->most_loss_sum) == none);
  CHECK(run.outbox.programs.back()->update == 4);
  run.stepped(60, 4);
  run.last_done();
  run.recorded(5);
  CHECK_FALSE(run.outbox.records.back().skipped);
  run.batch(6);
  const double mean = (3 + 3.5 + 6) / 3,
               deviation = std::sqrt(
                   ((3 - mean) * (3 - mean) + (3.5 - mean) * (3.5 - mean) + (6 - mean) * (6 - mean)) / 2);
  CHECK(static_cast<double>(run.outbox.programs.back()->most_loss_sum) ==
        Approx(10 * (mean + 3 * deviation)));
  run.stepped(20, 8.1);
  CHECK_THAT(run.outbox.warnings.back(), contains("gradient norm is 8.1, above 8"));
}

// --- early ends

TEST_CASE("early_stopping: the run ends after so many evaluations that are not better",
          "[runtime][callbacks]") {
  const OptionValues options{{"patience", int64_t{2}}, {"min_delta", 0.125}};
  Run run(everything_every_step(), made("early_stopping", options));
  run.ready();
  const auto step = [&](int64_t number, double loss) {
    run.batch(number);
    run.stepped();
    run.last_done();
    run.evaluated(number, loss);
    run.recorded(number);
    run.last_done();
    run.written(number);
  };
  step(1, 3);
  step(2, 2);
  step(3, 1.9);  // not better by min_delta
  const nlohmann::json states = states_of(run.outbox.snapshots.back());
  CHECK(run.outbox.ends.empty());
  SECTION("in one run") {
    step(4, 2.5);
    REQUIRE(run.outbox.ends.size() == 1);
    CHECK(run.outbox.ends[0].status == RunStatus::stopped);
    CHECK(run.outbox.ends[0].step == 4);
    CHECK(run.outbox.snapshots.back().final);
    CHECK_THAT(run.outbox.warnings.back(),
               contains("eval_loss was not below 1.875, after that of step 2, in 2 evaluations"));
    // It stays ended when it is resumed.
    TrainerSettings resumed = everything_every_step();
    resumed.done_steps = 4;
    resumed.done_position = 16;
    resumed.callback_states = states_of(run.outbox.snapshots.back());
    Run again(resumed, made("early_stopping", options));
    again.ready();
    CHECK(again.news() == Log{"expect 4 at 16 final", "snapshot 4"});
  }
  SECTION("with a resume between") {
    TrainerSettings resumed = everything_every_step();
    resumed.done_steps = 3;
    resumed.done_position = 12;
    resumed.callback_states = states;
    Run again(resumed, made("early_stopping", options));
    again.ready();
    again.batch(4);
    again.stepped();
    again.last_done();
    again.evaluated(4, 2.5);
    again.recorded(4);
    again.last_done();
    again.written(4);
    REQUIRE(again.outbox.ends.size() == 1);
    CHECK(again.outbox.ends[0].step == 4);
  }
}

TEST_CASE("early_stopping: a metric of a set counts by its name, higher or lower", "[runtime][callbacks]") {
  const auto stopped_after = [](const std::string& metric, const std::string& mode,
                                const std::vector<double>& values) {
    Run run(everything_every_step(),
            made("early_stopping", {{"metric", metric}, {"mode", mode}, {"patience", int64_t{1}}}));
    run.ready();
    for (size_t i = 0; i < values.size(); ++i) {
      const auto step = static_cast<int64_t>(i) + 1;
      run.batch(step);
      run.stepped();
      run.last_done();
      EvaluationFinished evaluation{tag, step, 100, 2.0, 7.4};
      evaluation.metrics = {{"eval/other/accuracy", 0.5}, {metric, values[i]}};
      run.core.evaluated(evaluation);
      if (!run.outbox.warnings.empty()) return step;
      run.recorded(step);
      run.last_done();
      run.written(step);
    }
    return int64_t{0};
  };
  CHECK(stopped_after("eval/gsm8k/accuracy", "auto", {0.1, 0.2, 0.2}) == 3);
  CHECK(stopped_after("eval/gsm8k/accuracy", "min", {0.1, 0.2}) == 2);
  CHECK(stopped_after("eval/held_out/perplexity", "auto", {9, 8, 8.5}) == 3);
  CHECK(stopped_after("eval/held_out/perplexity", "max", {9, 10, 11}) == 0);
}

TEST_CASE("early_stopping: a metric that an evaluation lacks ends the run, with those it has",
          "[runtime][callbacks]") {
  Run run(everything_every_step(), made("early_stopping", {{"metric", std::string("eval/gsm8k/f1")}}));
  run.ready();
  run.batch(1);
  run.stepped();
  run.last_done();
  EvaluationFinished evaluation{tag, 1, 100, 2.0, 7.4};
  evaluation.metrics = {{"eval/gsm8k/accuracy", 0.5}};
  run.core.evaluated(evaluation);
  REQUIRE(run.outbox.ends.size() == 1);
  CHECK_THAT(run.outbox.ends[0].message, contains("'eval/gsm8k/f1'") && contains("eval/gsm8k/accuracy"));
}

TEST_CASE("early_stopping: a loss that is not finite is never the best", "[runtime][callbacks]") {
  Run run(everything_every_step(), made("early_stopping", {{"patience", int64_t{1}}}));
  run.ready();
  run.batch(1);
  run.stepped();
  run.last_done();
  run.evaluated(1, not_a_number);
  CHECK_THAT(run.outbox.warnings.back(), contains("eval_loss was not finite"));
}

TEST_CASE("time_limit: the run ends before the step that might not end in time", "[runtime][callbacks]") {
  Run run(two_ranks(100), made("time_limit", {{"minutes", 2.0}, {"reserve_minutes", 0.5}}));
  run.ready();
  for (int64_t step = 1; step <= 4; ++step) {
    CHECK(run.outbox.ends.empty());
    run.batch(step);
    run.outbox.clock += 20;
    run.stepped();
    run.last_done();
    run.recorded(step);
  }
  // 80 s are over; 20 more and 30 for the checkpoint are not beyond 120, but another step's are.
  run.last_done();
  run.written(4);
  REQUIRE(run.outbox.ends.size() == 1);
  CHECK(run.outbox.ends[0].status == RunStatus::stopped);
  CHECK(run.outbox.ends[0].step == 4);
}

TEST_CASE("load_best: a run's final model is the best checkpoint's where a callback declares it",
          "[runtime][callbacks]") {
  Config config;
  CHECK_FALSE(final_is_best(config));
  config.callbacks = {{"time_limit", {{"minutes", 1.0}}}, {"of a host, not known here"}};
  CHECK_FALSE(final_is_best(config));
  config.callbacks.push_back({"load_best"});
  CHECK(final_is_best(config));
}

}  // namespace collie::test
