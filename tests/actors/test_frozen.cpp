// Parameters that model.frozen names are not trained, in any layout, and cost nothing that training costs.
#include <fmt/format.h>

#include "models/pieces.hpp"
#include "models/stage_model.hpp"
#include "plan/memory_plan.hpp"
#include "tests/actors/layout_runs.hpp"
#include "tests/catch.hpp"
#include "tests/io/matchers.hpp"
#include "tests/part.hpp"

namespace collie::test {
namespace {

using Patterns = std::vector<std::string>;

// The lower half, so that a stage of two has nothing to train; parts of each block; all but the ends.
const std::vector<Patterns> choices = {
    {"model.embed_tokens.weight", "model.layers.[0-3].*"}, {"*.mlp.*", "*norm*"}, {"model.layers.*"}};

MathsOptions maths_with(const Patterns& frozen, bool tied) {
  MathsOptions maths{tied, true, false, 16, 2};
  maths.frozen = frozen;
  return maths;
}

LayoutOutcome outcome_of(const MathsOptions& maths, const LayoutOptions& layout, const LayoutOptions& then) {
  return run_layouts(maths, {{layout, 1}, {then, 4}});
}

double total(const RunPlan& plan, Category category) {
  double bytes = 0;
  for (const PlannedRank& rank : predict_memory(plan))
    bytes += static_cast<double>(rank.peak_bytes[static_cast<size_t>(category)]);
  return bytes;
}

}  // namespace

TEST_CASE("frozen: what is trained has the gradients that it has without", "[actors][frozen]") {
  const Patterns frozen = GENERATE(from_range(choices));
  const bool tied = GENERATE(true, false);
  CAPTURE(frozen, tied);
  const LayoutOutcome all = run_layouts(maths_with({}, tied), {{LayoutOptions(), 1}});
  const LayoutOutcome some = run_layouts(maths_with(frozen, tied), {{LayoutOptions(), 1}});
  CHECK(some.losses == all.losses);
  CHECK(some.norms.front() < all.norms.front());
  CHECK(some.gradients.size() < all.gradients.size());
  REQUIRE_FALSE(some.gradients.empty());
  for (const auto& [name, gradient] : some.gradients) {
    CAPTURE(name);
    CHECK(gradient == all.gradients.at(name));
  }
}

TEST_CASE("frozen: every layout trains as one rank does, and resumes in another", "[actors][frozen][slow]") {
  const std::vector<LayoutOptions> layouts = {
      {1, 1, 2, 1, "1f1b", 0},      {1, 1, 2, 1, "zb_h1", 0},      {1, 1, 4, 1, "interleaved_1f1b", 0},
      {1, 1, 2, 1, "zbv", 0},       {2, 1, 1, 1, "1f1b", 1},       {2, 1, 1, 1, "1f1b", 2},
      {2, 1, 2, 1, "1f1b", 3},      {1, 2, 1, 1, "1f1b", 0, true}, {1, 1, 1, 2, "1f1b", 0},
      {2, 2, 2, 1, "1f1b", 1, true}};
  size_t part = 0;
  for (const Patterns& frozen : choices)
    for (const bool tied : {true, false}) {
      const MathsOptions maths = maths_with(frozen, tied);
      const LayoutOutcome expected = outcome_of(maths, {}, {});
      for (const size_t i : part_of_places(layouts.size(), 3, part++)) {
        const LayoutOptions &first = layouts[i], &then = layouts[(i + 3) % layouts.size()];
        INFO(fmt::format("frozen {}, {}: {}, then {}", frozen.front(), maths.name(), first.name(),
                         then.name()));
        try {
          CHECK(complaint_of(outcome_of(maths, first, then), expected, first.bitwise() && then.bitwise(),
                             maths.loss_tolerance()) == "");
        } catch (const std::exception& error) {
          FAIL_CHECK(error.what());
        }
      }
    }
}

TEST_CASE("frozen: no gradient is sent to stages that have nothing to train", "[actors][frozen]") {
  const TemporaryFolder folder;
  folder.write("train.txt", std::string(4000, 'x') + "collie");
  for (const auto& [schedule, pp] : {std::pair<std::string, int>{"1f1b", 2}, {"zb_h1", 2}, {"1f1b", 4}})
    for (const bool frozen : {false, true}) {
      CAPTURE(schedule, pp, frozen);
      const MathsOptions maths = maths_with(frozen ? choices[0] : Patterns{}, false);
      const auto ranks = predict_memory(
          plan_training(layout_config(folder, maths, {1, 1, pp, 1, schedule}, 3), ExistingRun::ignore));
      std::vector<bool> sends;
      for (const PlannedRank& rank : ranks) {
        sends.push_back(false);
        for (const PlannedTraffic& traffic : rank.traffic)
          if (traffic.group == "pipeline" && traffic.sent_bytes.count("gradient") > 0) sends.back() = true;
      }
      std::vector<bool> expected(static_cast<size_t>(pp), true);
      expected[0] = false;  // the first stage has nobody before it
      for (int rank = 0; frozen && rank <= pp / 2; ++rank) expected[static_cast<size_t>(rank)] = false;
      CHECK(sends == expected);
    }
}

TEST_CASE("frozen: the weights keep their bits, and have no states in the checkpoint", "[actors][frozen]") {
  const LayoutOptions layout =
      GENERATE(LayoutOptions{1, 1, 2, 1, "1f1b"}, LayoutOptions{2, 1, 1, 1, "1f1b", 1},
               LayoutOptions{2, 1, 1, 1, "1f1b", 3});
  CAPTURE(layout.name());
  const TemporaryFolder folder;
  folder.write("train.txt", std::string(4000, 'x') + "collie");
  const Config config = layout_config(folder, maths_with(choices[0], true), layout, 3);
  LayoutOutcome outcome;
  run_to_the_end(plan_training(config, ExistingRun::refuse), outcome);
  const auto checkpoint = latest_checkpoint((folder / "run/checkpoints").string());
  REQUIRE(checkpoint);
  const RunPlan plan = plan_training(config, ExistingRun::ignore);
  const auto account = std::make_shared<MemoryAccount>();
  const auto operations = make_cpu_operations(1, account);
  int frozen = 0;
  for (const auto& [name, shape, is_table, transposed, stored_rows] :
       tensors_of(model_parameters(plan.model))) {
    CAPTURE(name);
    Parameter whole = whole_tensor(name, shape);
    for (const Parameter& parameter : model_parameters(plan.model))
      if (parameter.name == name) whole = parameter;
    Tensor initial = operations->empty(shape, Category::workspace);
    initialise(whole, config.run.seed, *operations, initial);
    Tensor now = Tensor::host(shape, DType::f32, account, Category::workspace);
    checkpoint->read(name, "weight", shape, std::vector<int64_t>(static_cast<size_t>(shape.rank()), 0), now);
    const bool same = std::equal(now.data<float>(), now.data<float>() + now.numel(), initial.data<float>());
    CHECK(same == !whole.trainable);
    frozen += whole.trainable ? 0 : 1;
    if (!whole.trainable) CHECK_THROWS_AS(checkpoint->check(name, "exp_avg", shape), UserError);
  }
  CHECK(frozen > 10);
}

TEST_CASE("frozen: gradients, states and lower activations are not there, and the plan knows it",
          "[actors][frozen]") {
  const TemporaryFolder folder;
  folder.write("train.txt", std::string(4000, 'x') + "collie");
  const auto plan_of = [&](const Patterns& frozen) {
    return plan_training(layout_config(folder, maths_with(frozen, false), {}, 2), ExistingRun::ignore);
  };
  const RunPlan all = plan_of({}), half = plan_of(choices[0]);
  CHECK(total(half, Category::weights) == total(all, Category::weights));
  for (const Category category : {Category::gradients, Category::optimizer, Category::activations}) {
    CAPTURE(name(category));
    CHECK(total(half, category) < 0.65 * total(all, category));
  }
}

TEST_CASE("frozen: patterns that match nothing, or everything, are refused", "[actors][frozen]") {
  const TemporaryFolder folder;
  folder.write("train.txt", "some text");
  const auto refusal_of = [&](const Patterns& frozen) -> std::string {
    try {
      plan_training(layout_config(folder, maths_with(frozen, true), {}, 2), ExistingRun::ignore);
    } catch (const UserError& error) {
      return error.what();
    }
    return "";
  };
  const std::string nothing = refusal_of({"model.layer.0.*"});
  CHECK_THAT(nothing, contains("model.frozen: 'model.layer.0.*' matches no parameter"));
  CHECK_THAT(nothing, contains("model.embed_tokens.weight"));
  CHECK_THAT(refusal_of({"*"}), contains("nothing is left to train"));
}

}  // namespace collie::test
