// Every optimizer in layouts, against one rank: what a rule computes must not depend on how its parameters,
// or the matrices that it sees, are cut.
#include <fmt/format.h>

#include "tests/actors/layout_runs.hpp"
#include "tests/catch.hpp"

namespace collie::test {
namespace {

// Half of a run in the first, half in the second.
using Halves = std::pair<LayoutOptions, LayoutOptions>;

// Every value of every option, and those that cut matrices together.
const std::vector<Halves>& some_layouts() {
  static const std::vector<Halves> all = {
      {{2, 2, 2, 1, "zbv", 3, true}, {1, 4, 2, 1, "zb_h1"}},
      {{1, 2, 2, 2, "interleaved_1f1b", 1}, {4, 2, 1, 1, "1f1b", 2, true}},
      {{2, 1, 1, 4, "1f1b", 2}, {1, 1, 4, 1, "dualpipe_v"}},
  };
  return all;
}

MathsOptions maths_of(const std::string& optimizer, const std::string& family, bool tied) {
  MathsOptions maths{tied, true, false, 16};
  maths.optimizer = optimizer;
  maths.family = family;
  return maths;
}

// Rules beside those of all_maths().
const std::vector<std::string> rules = {"adafactor", "adalomo", "adamw_schedule_free", "adan", "lomo",
                                        "muon",      "sophia"};

void trains_as_one_rank(const MathsOptions& maths, const std::vector<Halves>& layouts) {
  const LayoutOutcome expected = run_one_rank(maths);
  REQUIRE(expected.losses.size() == static_cast<size_t>(layout_steps));
  CHECK(expected.losses.back() < 0.95 * expected.losses.front());
  for (const auto& [first, then] : layouts) {
    INFO(maths.name() << ": " << first.name() << ", from step 11 on " << then.name());
    CHECK(complaint_of_halves(run_halves(maths, first, then), expected, maths, first, then) == "");
  }
}

}  // namespace

TEST_CASE("layouts: every optimizer trains as on one rank, and resumes in another layout",
          "[actors][layouts][slow]") {
  const std::string rule = GENERATE(from_range(rules));
  trains_as_one_rank(maths_of(rule, "llama", true), some_layouts());
}

TEST_CASE("layouts: every optimizer sees transposed and packed matrices as they are",
          "[actors][layouts][slow]") {
  const std::string rule = GENERATE(from_range(rules));
  trains_as_one_rank(maths_of(rule, "gpt2", false), {some_layouts().front()});
}

TEST_CASE("layouts: every optimizer gives the bits of ZeRO-0 in ZeRO-1, and of any pipeline",
          "[actors][layouts][slow]") {
  const std::string rule = GENERATE(from_range(rules));
  const bool narrow = GENERATE(false, true);
  MathsOptions maths = maths_of(rule, "llama", true);
  maths.sequences_per_step = 4;
  if (narrow) {
    maths.dtype = "bfloat16";
    maths.master = false;
    maths.rounding = "stochastic";
  }
  INFO(maths.name());
  const auto outcome = [&](const LayoutOptions& first, const LayoutOptions& then) {
    return run_layouts(maths, {{first, 1}, {first, 3}, {then, 4}});
  };
  const LayoutOptions replicas{2, 2, 1, 1, "1f1b", 0}, sharded{2, 2, 1, 1, "1f1b", 1};
  CHECK(complaint_of(outcome(sharded, replicas), outcome(replicas, sharded), true) == "");
  CHECK(complaint_of(outcome({1, 1, 2, 1, "zbv"}, {}), outcome({}, {}), true) == "");
}

}  // namespace collie::test
