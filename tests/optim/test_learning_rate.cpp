#include "optim/learning_rate.hpp"

#include "tests/catch.hpp"
#include "tests/models/messages.hpp"

using namespace collie;
using namespace collie::test;

namespace {

LearningRateSchedule make(const std::string& name, int64_t warmup, double least) {
  return learning_rate_schedules().find(name)({name, warmup, least});
}

}  // namespace

TEST_CASE("every schedule warms up in a straight line to 1", "[schedule]") {
  const std::string name = GENERATE("constant", "linear", "cosine");
  CAPTURE(name);
  const auto factor = make(name, 4, 0.1);
  CHECK(factor(1, 20) == 0.25);
  CHECK(factor(2, 20) == 0.5);
  CHECK(factor(3, 20) == 0.75);
  CHECK(factor(4, 20) == 1.0);
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
}

TEST_CASE("a schedule follows the number of steps it is told, so that a resumed run may have more",
          "[schedule]") {
  const auto linear = make("linear", 0, 0.0);
  CHECK(linear(10, 20) == 0.5);
  CHECK(linear(10, 40) == 0.75);
}

TEST_CASE("a warm-up as long as the run or longer never reaches the curve", "[schedule]") {
  const std::string name = GENERATE("constant", "linear", "cosine");
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

TEST_CASE("a schedule's settings are checked", "[schedule]") {
  check_says(message_of([] { make("linear", -1, 0.1); }), {"lr_scheduler.warmup_steps", "-1"});
  check_says(message_of([] { make("linear", 1, 1.5); }), {"lr_scheduler.min_lr_ratio", "1.5"});
  check_says(message_of([] { make("step", 1, 0.5); }), {"lr_scheduler.name", "step", "cosine"});
}
