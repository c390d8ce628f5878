// Updates inside backward (optimizer.fused_update): the same as those after it, bit by bit, in every layout.
#include <fmt/format.h>

#include "tests/actors/layout_runs.hpp"
#include "tests/catch.hpp"

namespace collie::test {
namespace {

// Four micro-batches of one rank, or one of four.
MathsOptions maths_of(const std::string& optimizer, int64_t micro_batch_size) {
  MathsOptions maths{true, true, false, 4, micro_batch_size};
  maths.optimizer = optimizer;
  return maths;
}

LayoutOutcome outcome_of(const MathsOptions& maths, const LayoutOptions& layout) {
  return run_layouts(maths, {{layout, 1}, {layout, 3}, {layout, 5}});
}

// With micro-batches of 2, dp 2 has one a step.
const std::vector<LayoutOptions>& fused_layouts() {
  static const std::vector<LayoutOptions> all = {
      {1, 1, 1, 1, "1f1b"},     {2, 1, 1, 1, "1f1b", 0},       {2, 1, 1, 1, "1f1b", 1},
      {2, 1, 2, 1, "zb_h1", 2}, {2, 2, 1, 1, "1f1b", 3, true}, {1, 2, 2, 1, "zbv"},
      {2, 1, 1, 2, "1f1b", 3},  {1, 1, 4, 1, "gpipe"},         {1, 1, 2, 2, "interleaved_1f1b", 1},
  };
  return all;
}

void matches_sgd(const MathsOptions& changed, const LayoutOptions& layout) {
  MathsOptions lomo = changed, sgd = changed;
  lomo.optimizer = "lomo";
  sgd.optimizer = "plain sgd";
  sgd.clip_grad_norm_mode = "exact";
  INFO(lomo.name() << ": " << layout.name());
  const LayoutOutcome expected = outcome_of(sgd, layout);
  REQUIRE(expected.losses.size() == 5);
  CHECK(expected.losses.back() < expected.losses.front());
  CHECK(complaint_of(outcome_of(lomo, layout), expected, true) == "");
}

}  // namespace

TEST_CASE("fused: LOMO gives SGD's bits in every layout", "[actors][fused][slow]") {
  for (const LayoutOptions& layout : fused_layouts()) matches_sgd(maths_of("", 2), layout);
}

TEST_CASE("fused: LOMO gives the bits of SGD clipped by value and by the exact norm",
          "[actors][fused][slow]") {
  MathsOptions maths = maths_of("", 2);
  maths.clip_grad_norm = 0.3;
  maths.clip_grad_value = GENERATE(0.0, 0.01);
  for (const LayoutOptions& layout : fused_layouts()) matches_sgd(maths, layout);
}

TEST_CASE("fused: updates of untied and of other families' matrices are SGD's, too",
          "[actors][fused][slow]") {
  MathsOptions maths = maths_of("", 2);
  maths.tied = false;
  maths.family = "gpt2";
  maths.clip_grad_norm = 0.3;
  matches_sgd(maths, {2, 2, 2, 1, "zbv", 3, true});
  matches_sgd(maths, {2, 1, 1, 1, "1f1b", 1});
}

TEST_CASE("fused: bfloat16 weights are rounded alike inside backward and after it", "[actors][fused][slow]") {
  MathsOptions maths = maths_of("", 2);
  maths.dtype = "bfloat16";
  maths.master = false;
  maths.rounding = "stochastic";
  maths.grad_dtype = GENERATE("float32", "bfloat16");
  matches_sgd(maths, {2, 1, 2, 1, "1f1b", 1});
}

TEST_CASE("fused: clipping by the norm of the step before is resumed to the bit", "[actors][fused][slow]") {
  MathsOptions maths = maths_of("lomo", 2);
  maths.clip_grad_norm = 0.3;
  maths.clip_grad_norm_mode = "previous";
  const LayoutOptions layout{2, 1, 2, 1, "1f1b", 2};
  const LayoutOutcome whole = run_layouts(maths, {{layout, 1}, {layout, 5}});
  CHECK(complaint_of(outcome_of(maths, layout), whole, true) == "");
  MathsOptions exact = maths;
  exact.clip_grad_norm_mode = "exact";
  CHECK(loss_difference(outcome_of(exact, layout), whole) > 0);
}

TEST_CASE("fused: AdaLomo inside backward gives the bits of AdaLomo after it", "[actors][fused][slow]") {
  for (const LayoutOptions& layout : fused_layouts()) {
    MathsOptions maths = maths_of("adalomo", 2), after = maths_of("adalomo after backward", 2);
    INFO(layout.name());
    CHECK(complaint_of(outcome_of(maths, layout), outcome_of(after, layout), true) == "");
  }
}

TEST_CASE("fused: AdamW in 8 bits inside backward gives the bits of the same after it",
          "[actors][fused][slow]") {
  for (const LayoutOptions& layout : {LayoutOptions{2, 2, 1, 1, "1f1b", 3, true}, {1, 1, 2, 1, "zbv"}}) {
    MathsOptions maths = maths_of("adamw_8bit inside backward", 2), after = maths_of("adamw_8bit", 2);
    maths.in_blocks = after.in_blocks = true;
    INFO(layout.name());
    CHECK(complaint_of(outcome_of(maths, layout), outcome_of(after, layout), true) == "");
  }
}

}  // namespace collie::test
