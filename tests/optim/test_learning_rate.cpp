#include "optim/learning_rate.hpp"

#include <cmath>
#include <fstream>
#include <numbers>
#include <set>

#include "tests/catch.hpp"
#include "tests/models/messages.hpp"
#include "tests/optim/rule_options.hpp"

using namespace collie;
using namespace collie::test;
using nlohmann::json;

namespace {

LearningRateSchedule make(const std::string& name, const OptionValues& options) {
  return make_learning_rate_schedule({name, options});
}

LearningRateSchedule make(const std::string& name, int64_t warmup, double least) {
  OptionValues options{{"warmup_steps", warmup}};
  if (name != "constant") options.set("min_lr_ratio", least);
  return make(name, options);
}

std::string complaint_about(const std::string& name, const OptionValues& options) {
  return message_of([&] {
    check_options(LearningRateConfig{name, options}, [](const std::string& key) { return key; });
  });
}

}  // namespace

TEST_CASE("every schedule is PyTorch's or transformers' of that name", "[schedule][golden]") {
  const json golden =
      json::parse(std::ifstream(std::string(COLLIE_SOURCE_DIR) + "/tests/golden/learning_rates.json"));
  std::set<std::string> tested;
  for (const json& each : golden) {
    const auto name = each.at("name").get<std::string>();
    tested.insert(name);
    CAPTURE(name, each.at("options").dump());
    const LearningRateSchedule factor =
        make(name, typed_options(learning_rate_declarations().find(name).options, each.at("options")));
    const auto steps = each.at("steps").get<int64_t>();
    REQUIRE(each.at("factors").size() == static_cast<size_t>(steps));
    for (int64_t step = 1; step <= steps; ++step) {
      CAPTURE(step);
      const auto expected = each.at("factors")[static_cast<size_t>(step - 1)].get<double>();
      CHECK(factor(step, steps) == Approx(expected).epsilon(0).margin(1e-14));
    }
  }
  const std::vector<std::string> names = learning_rate_schedules().names();
  const std::set<std::string> built_in{"constant",
                                       "linear",
                                       "cosine",
                                       "cosine_with_restarts",
                                       "polynomial",
                                       "one_cycle",
                                       "warmup_stable_decay",
                                       "step",
                                       "inverse_sqrt"};
  CHECK(tested == built_in);
  for (const std::string& name : built_in) CHECK(std::count(names.begin(), names.end(), name) == 1);
}

TEST_CASE("every schedule with a warm-up rises in a straight line to 1", "[schedule]") {
  const std::string name = GENERATE("constant", "linear", "cosine", "cosine_with_restarts", "polynomial",
                                    "inverse_sqrt", "warmup_stable_decay", "step");
  CAPTURE(name);
  OptionValues options{{"warmup_steps", int64_t{4}}};
  if (name == "step") options.set("step_size", int64_t{3});
  const auto factor = make(name, options);
  CHECK(factor(1, 20) == 0.25);
  CHECK(factor(2, 20) == 0.5);
  CHECK(factor(3, 20) == 0.75);
  CHECK(factor(4, 20) == 1.0);
}

TEST_CASE("a warm-up may be a share of all steps, rounded up", "[schedule]") {
  const auto factor = make("linear", {{"warmup_ratio", 0.16}, {"min_lr_ratio", 0.0}});
  for (int64_t step = 1; step <= 25; ++step) CHECK(factor(step, 25) == make("linear", 4, 0.0)(step, 25));
  for (int64_t step = 1; step <= 26; ++step) CHECK(factor(step, 26) == make("linear", 5, 0.0)(step, 26));
  const auto none = make("linear", {{"warmup_ratio", 0.0}, {"min_lr_ratio", 0.0}});
  CHECK(none(1, 4) == 0.75);
  const auto only = make("constant", {{"warmup_ratio", 1.0}});
  CHECK(only(3, 4) == 0.75);
}

TEST_CASE("the curves reach their minimum at the last step", "[schedule]") {
  const auto linear = make("linear", 4, 0.1), cosine = make("cosine", 4, 0.1),
             constant = make("constant", 4, 0.1);
  CHECK(linear(12, 20) == Approx(0.55));
  CHECK(linear(16, 20) == Approx(0.325));
  CHECK(linear(20, 20) == 0.1);
  CHECK(cosine(8, 20) == Approx(0.1 + 0.9 * 0.5 * (1 + std::sqrt(0.5))));
  CHECK(cosine(12, 20) == Approx(0.55));
  CHECK(cosine(20, 20) == 0.1);
  CHECK(constant(20, 20) == 1.0);
  for (int64_t step = 5; step <= 20; ++step) {
    CHECK(linear(step, 20) < linear(step - 1, 20));
    CHECK(cosine(step, 20) < cosine(step - 1, 20));
  }
  for (const std::string name : {"cosine_with_restarts", "polynomial", "warmup_stable_decay"})
    CHECK(make(name, 4, 0.1)(20, 20) == Approx(0.1).epsilon(1e-15));
  CHECK(make("one_cycle", {})(20, 20) == Approx(1 / 25.0 / 1e4).epsilon(1e-9));
}

// Runs that began before there were other schedules go on bitwise.
TEST_CASE("constant, linear and cosine have the bits that they have always had", "[schedule]") {
  constexpr int64_t warmup = 7, steps = 61;
  constexpr double least = 0.1;
  for (int64_t step = 1; step <= steps; ++step) {
    const double progress = static_cast<double>(step - warmup) / static_cast<double>(steps - warmup);
    const bool warm = step <= warmup;
    const double rising = static_cast<double>(step) / static_cast<double>(warmup);
    CHECK(make("constant", warmup, least)(step, steps) == (warm ? rising : 1.0));
    CHECK(make("linear", warmup, least)(step, steps) ==
          (warm ? rising : least * progress + (1.0 - progress)));
    CHECK(make("cosine", warmup, least)(step, steps) ==
          (warm ? rising : least + (1.0 - least) * 0.5 * (1.0 + std::cos(std::numbers::pi * progress))));
  }
}

TEST_CASE("a schedule follows the number of steps it is told, so that a resumed run may have more",
          "[schedule]") {
  const auto linear = make("linear", 0, 0.0);
  CHECK(linear(10, 20) == 0.5);
  CHECK(linear(10, 40) == 0.75);
  const auto by_time = make("inverse_sqrt", OptionValues{{"warmup_steps", int64_t{4}}});
  CHECK(by_time(16, 20) == by_time(16, 1000));
}

TEST_CASE("a warm-up as long as the run or longer never reaches the curve", "[schedule]") {
  const std::string name = GENERATE("constant", "linear", "cosine", "warmup_stable_decay");
  CAPTURE(name);
  CHECK(make(name, 4, 0.1)(4, 4) == 1.0);
  CHECK(make(name, 8, 0.1)(4, 4) == 0.5);
  CHECK(make(name, 1, 0.1)(1, 1) == 1.0);
}

TEST_CASE("without warm-up the curve starts before the first step", "[schedule]") {
  CHECK(make("linear", 0, 0.1)(1, 1) == 0.1);
  CHECK(make("cosine", 0, 0.1)(1, 1) == 0.1);
  CHECK(make("constant", 0, 0.1)(1, 1) == 1.0);
  CHECK(make("linear", 0, 0.0)(1, 4) == 0.75);
  CHECK(make("cosine", 0, 1.0)(3, 4) == 1.0);
}

TEST_CASE("restarts are at their very steps, and the last cosine ends the run", "[schedule]") {
  const auto factor = make("cosine_with_restarts",
                           {{"warmup_steps", int64_t{2}}, {"num_cycles", int64_t{7}}, {"min_lr_ratio", 0.2}});
  for (int64_t cycle = 0; cycle < 7; ++cycle) {
    CHECK(factor(2 + 13 * cycle, 2 + 7 * 13) == 1.0);
    CHECK(factor(2 + 13 * cycle + 12, 2 + 7 * 13) < 0.23);
  }
  CHECK(factor(2 + 7 * 13, 2 + 7 * 13) == 0.2);
}

TEST_CASE("a decay that would begin in the warm-up begins behind it", "[schedule]") {
  const OptionValues options{{"warmup_steps", int64_t{4}},
                             {"decay_steps", int64_t{100}},
                             {"decay_type", "linear"},
                             {"min_lr_ratio", 0.0}};
  const auto factor = make("warmup_stable_decay", options);
  CHECK(factor(4, 12) == 1.0);
  CHECK(factor(5, 12) == 0.875);
  CHECK(factor(12, 12) == 0.0);
}

TEST_CASE("one_cycle can do runs of every length, whatever share rises", "[schedule]") {
  const double share = GENERATE(0.0, 0.3, 0.5, 1.0);
  const bool three = GENERATE(false, true);
  if (three && share > 0.5) return;  // refused
  const auto factor = make("one_cycle", {{"pct_start", share}, {"three_phase", three}});
  for (int64_t steps = 1; steps < 30; ++steps)
    for (int64_t step = 1; step <= steps; ++step) {
      CAPTURE(share, three, steps, step);
      CHECK((factor(step, steps) > 0 && factor(step, steps) <= 1));
    }
}

TEST_CASE("a schedule's options are checked", "[schedule]") {
  check_says(complaint_about("linear", {{"warmup_steps", int64_t{-1}}}),
             {"lr_scheduler.warmup_steps", "-1", "whole number"});
  check_says(complaint_about("linear", {{"min_lr_ratio", 1.5}}), {"lr_scheduler.min_lr_ratio", "1.5"});
  check_says(complaint_about("linear", {{"warmup_steps", 3.0}}), {"lr_scheduler.warmup_steps", "type"});
  check_says(complaint_about("staircase", {}), {"lr_scheduler.name", "staircase", "cosine", "step"});
  check_says(complaint_about("linear", {{"power", 2.0}}),
             {"lr_scheduler.power", "unknown", "linear", "warmup_steps, warmup_ratio, min_lr_ratio"});
  check_says(complaint_about("linear", {{"warmup_steps", int64_t{3}}, {"warmup_ratio", 0.1}}),
             {"lr_scheduler.warmup_ratio", "beside warmup_steps", "one of the two"});
  check_says(complaint_about("step", {}), {"lr_scheduler.step_size", "missing"});
  check_says(complaint_about("step", {{"step_size", int64_t{0}}}), {"lr_scheduler.step_size", "0", "from 1"});
  check_says(complaint_about("step", {{"step_size", int64_t{3}}, {"gamma", 0.0}}),
             {"lr_scheduler.gamma", "above 0 and at most 1"});
  check_says(complaint_about("cosine_with_restarts", {{"num_cycles", int64_t{0}}}),
             {"lr_scheduler.num_cycles"});
  check_says(complaint_about("polynomial", {{"power", 0.0}}), {"lr_scheduler.power", "above 0"});
  check_says(complaint_about("inverse_sqrt", {{"timescale", int64_t{0}}}), {"lr_scheduler.timescale"});
  check_says(complaint_about("warmup_stable_decay", {{"decay_steps", int64_t{3}}, {"decay_ratio", 0.1}}),
             {"beside decay_"});
  check_says(complaint_about("warmup_stable_decay", {{"decay_type", "square"}}),
             {"lr_scheduler.decay_type", "square", "linear, cosine, 1-sqrt"});
  check_says(complaint_about("one_cycle", {{"pct_start", 0.6}, {"three_phase", true}}),
             {"lr_scheduler.pct_start", "0.6", "0.5"});
  check_says(complaint_about("one_cycle", {{"div_factor", 0.5}}), {"lr_scheduler.div_factor", "0.5"});
  check_says(complaint_about("one_cycle", {{"warmup_steps", int64_t{5}}}),
             {"lr_scheduler.warmup_steps", "unknown", "one_cycle", "pct_start"});
}

TEST_CASE("a host program's schedule has options of its own", "[schedule][registry]") {
  OptionDeclaration declaration;
  declaration.options = {{"halved_every", int64_t{2}, "steps", {1, 100}}};
  add_learning_rate_schedule("halving", declaration, [](const OptionValues& options) {
    return [every = options.whole_number("halved_every")](int64_t step, int64_t) {
      return std::pow(0.5, static_cast<double>(step / every));
    };
  });
  CHECK(make("halving", {})(4, 9) == 0.25);
  CHECK(make("halving", {{"halved_every", int64_t{4}}})(4, 9) == 0.5);
  check_says(complaint_about("halving", {{"halved_every", int64_t{0}}}), {"lr_scheduler.halved_every", "0"});
  check_says(complaint_about("halving", {{"warmup_steps", int64_t{0}}}), {"halving", "halved_every"});
}
