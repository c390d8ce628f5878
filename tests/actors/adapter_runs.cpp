#include "tests/actors/adapter_runs.hpp"

#include <fmt/format.h>

#include "actors/cluster.hpp"
#include "tests/actors/threaded_config.hpp"
#include "tests/catch.hpp"
#include "tests/models/support.hpp"
#include "tests/part.hpp"

namespace collie::test {

MathsOptions adapter_maths(const std::string& peft, const std::string& family, const std::string& dtype) {
  MathsOptions maths{true, true, false, 16, 2};
  maths.peft = peft;
  maths.family = family;
  maths.dtype = dtype;
  return maths;
}

std::string refusal_of(const Config& config, ExistingRun existing) {
  std::vector<std::string> warnings;
  try {
    check_config(config, warnings);
    plan_training(config, existing);
  } catch (const UserError& error) {
    return error.what();
  }
  return "";
}

double evaluated_loss(RunPlan plan) {
  ThreadedConfig config;
  caf::actor_system system(config);
  caf::scoped_actor self(system);
  spawn_run(system, std::move(plan), caf::actor_cast<caf::actor>(self));
  double loss = NAN;
  bool ended = false;
  while (!ended)
    self->receive([](const RunStarted&) {}, [](const StepFinished&) {},
                  [&](const EvaluationFinished& event) { loss = event.loss; }, [](const CheckpointSaved&) {},
                  [&](const RunEnded& end) {
                    if (end.exit_code != 0) throw RunError("{}", end.message);
                    ended = true;
                  });
  return loss;
}

const std::vector<LayoutOptions>& layouts_of_adapters() {
  static const std::vector<LayoutOptions> layouts = {
      {1, 1, 2, 1, "1f1b", 0}, {1, 1, 2, 1, "zb_h1", 0},      {1, 1, 4, 1, "interleaved_1f1b", 0},
      {1, 1, 2, 1, "zbv", 0},  {2, 1, 1, 1, "1f1b", 1},       {2, 1, 1, 1, "1f1b", 2},
      {2, 1, 2, 1, "1f1b", 3}, {1, 2, 1, 1, "1f1b", 0, true}, {1, 1, 1, 2, "1f1b", 0},
      {1, 4, 1, 1, "1f1b", 0}, {2, 2, 2, 1, "1f1b", 1, true}, {1, 2, 1, 2, "1f1b", 3, true}};
  return layouts;
}

const std::vector<LayoutOptions>& few_layouts_of_adapters() {
  static const std::vector<LayoutOptions> layouts = {{2, 1, 2, 1, "zb_h1", 3},
                                                     {1, 2, 1, 1, "1f1b", 0, true},
                                                     {1, 1, 1, 2, "1f1b", 0},
                                                     {1, 4, 1, 1, "1f1b", 0},
                                                     {2, 2, 2, 1, "zbv", 1, true}};
  return layouts;
}

namespace {

void check_in_places(const MathsOptions& maths, const std::vector<LayoutOptions>& layouts,
                     const std::vector<size_t>& places, size_t apart) {
  const LayoutOutcome expected = run_layouts(maths, {{{}, 1}, {{}, 4}});
  REQUIRE_FALSE(expected.gradients.empty());
  for (const size_t i : places) {
    const LayoutOptions &first = layouts[i], &then = layouts[(i + apart) % layouts.size()];
    INFO(fmt::format("{}: {}, then {}", maths.name(), first.name(), then.name()));
    try {
      CHECK(complaint_of(run_layouts(maths, {{first, 1}, {then, 4}}), expected,
                         first.bitwise() && then.bitwise(), maths.loss_tolerance(),
                         maths.gradient_tolerance()) == "");
    } catch (const std::exception& error) {
      FAIL_CHECK(error.what());
    }
  }
}

}  // namespace

void check_in_layouts(const MathsOptions& maths, const std::vector<LayoutOptions>& layouts, size_t apart) {
  size_t first = 0;  // another for most maths
  for (const char letter : maths.name()) first += static_cast<unsigned char>(letter);
  check_in_places(maths, layouts, part_of_places(layouts.size(), 3, first), apart);
}

namespace {

// By norm, of all gradients together, and of the parameter whose gradient has the largest.
struct GradientErrors {
  double of_all = 0, largest = 0;
  std::string parameter;
};

using Gradients = std::map<std::string, std::vector<float>>;

GradientErrors errors_of(const Gradients& found, const Gradients& expected) {
  GradientErrors errors;
  std::vector<float> all_found, all_expected;
  for (const auto& [name, gradient] : expected) {
    const std::vector<float>& own = found.at(name);
    all_found.insert(all_found.end(), own.begin(), own.end());
    all_expected.insert(all_expected.end(), gradient.begin(), gradient.end());
    const double error = relative_error(own, gradient);
    if (error > errors.largest) errors = {0, error, name};
  }
  errors.of_all = relative_error(all_found, all_expected);
  return errors;
}

}  // namespace

void check_bfloat16_in_layouts(const MathsOptions& maths, const std::vector<LayoutOptions>& layouts) {
  const auto first_step = [&](const std::string& dtype, const LayoutOptions& layout) {
    MathsOptions in_dtype = maths;
    in_dtype.dtype = dtype;
    return run_layouts(in_dtype, {{layout, 1}}).gradients;
  };
  const auto exact = first_step("float32", {});
  REQUIRE_FALSE(exact.empty());
  const GradientErrors alone = errors_of(first_step("bfloat16", {}), exact);
  for (const LayoutOptions& layout : layouts) {
    const GradientErrors found = errors_of(first_step("bfloat16", layout), exact);
    INFO(maths.name() << ", " << layout.name() << ", " << found.parameter);
    // Each tensor rank rounds its part of a sum, and the sum is rounded again.
    CHECK(found.of_all <= 2 * alone.of_all + 2e-3);
    CHECK(found.largest <= 2 * alone.largest + 2e-3);
  }
}

void check_covering_cases(const std::vector<LayoutCase>& all) {
  for (const std::vector<LayoutCase>& cases : covering_cases(all)) {
    std::vector<LayoutOptions> layouts;
    for (const LayoutCase& each : cases) layouts.push_back(each.layout);
    const MathsOptions& maths = cases.front().maths;
    if (maths.dtype == "bfloat16")
      check_bfloat16_in_layouts(maths, layouts);
    else
      check_in_places(maths, layouts, part_of_places(layouts.size(), 1), 1);
  }
}

}  // namespace collie::test
