// Moving averages of weights against PyTorch's: tests/golden/make_moving_average_golden.py.
#include "optim/moving_average.hpp"

#include <cmath>
#include <limits>

#include "optim/parameter_groups.hpp"
#include "tests/catch.hpp"
#include "tests/models/golden.hpp"
#include "tests/models/messages.hpp"
#include "tests/models/support.hpp"

using namespace collie;
using namespace collie::test;

namespace {

constexpr int64_t averaged_numel = 7 * 13;  // of the golden's tensor

std::vector<float> numbers_of(const std::function<double(double)>& f) {
  std::vector<float> values;
  for (int64_t i = 0; i < averaged_numel; ++i)
    values.push_back(static_cast<float>(f(static_cast<double>(i))));
  return values;
}

// The golden's tensor, and its average.
struct AveragedSteps {
  Operations& operations;
  DType dtype = DType::f32;
  std::unique_ptr<Optimizer> optimizer = with_moving_average(
      make_optimizer("adamw",
                     {{"lr", 1e-2}, {"betas", std::vector<double>{0.9, 0.95}}, {"weight_decay", 0.1}}),
      0.9);
  Tensor weight = made(numbers_of([](double i) { return std::sin(1.7 * i + 0.3); })),
         average = made(numbers_of([](double i) { return std::sin(1.7 * i + 0.3); })),
         first = made(std::vector<float>(averaged_numel)), second = made(std::vector<float>(averaged_numel));

  Tensor made(const std::vector<float>& values) {
    Tensor x = operations.empty({averaged_numel}, operations.accumulation_dtype(), Category::optimizer);
    operations.upload(values, x);
    return x;
  }
  void step(int64_t count, const Tensor& gradient_factor = {}) {
    const auto t = static_cast<double>(count);
    const std::string name = "w";
    const Tensor gradient = made(numbers_of(
        [t](double i) { return std::cos(0.37 * i + 0.9 * t) * (1 + 0.05 * i) + 0.5 * std::sin(2.3 * i); }));
    ParameterRange range{name, weight, gradient, {first, second, average}, {}};
    optimizer->update(operations, {&range, 1}, {1e-2, count, gradient_factor, {}, {}});
  }
};

}  // namespace

TEST_CASE("a moving average of weights is PyTorch's, on every device", "[golden][averages]") {
  const std::string device = GENERATE(from_range(all_devices));
  const auto owner = make_operations(device);
  AveragedSteps steps{*owner.operations};
  const nlohmann::json golden = read_json(golden_folder + "moving_average.json");
  REQUIRE(golden.at("decay") == 0.9);
  size_t compared = 0;
  for (int64_t count = 1; count <= 20; ++count) {
    steps.step(count);
    if (!golden.at("steps").contains(std::to_string(count))) continue;
    CAPTURE(device, count);
    const nlohmann::json& expected = golden.at("steps").at(std::to_string(count));
    const auto error = [&](const Tensor& found, const char* name) {
      return relative_error(values(*owner.operations, found), expected.at(name).get<std::vector<double>>());
    };
    CHECK(error(steps.weight, "weight") < 1e-6);
    CHECK(error(steps.average, "average") < 1e-6);
    if (count > 2) CHECK(error(steps.weight, "average") > 1e-3);
    ++compared;
  }
  CHECK(compared == 4);
}

TEST_CASE("a step that changes no weight changes no average", "[averages]") {
  const std::string device = GENERATE(from_range(all_devices));
  const auto owner = make_operations(device);
  AveragedSteps steps{*owner.operations};
  steps.step(1);
  steps.step(2);
  const auto before = values(*owner.operations, steps.average);
  Tensor factor = owner.operations->empty({1}, DType::f64, Category::optimizer);
  owner.operations->fill(factor, std::numeric_limits<double>::quiet_NaN());
  steps.step(3, factor);
  CHECK(values(*owner.operations, steps.average) == before);
}

TEST_CASE("averages go with every optimizer but one that has its own", "[averages]") {
  for (const std::string& name : optimizer_declarations().names()) {
    CAPTURE(name);
    OptimizerConfig config;
    config.name = name;
    config.ema_decay = 0.5;
    if (name == "adamw_schedule_free") {
      check_says(message_of([&] { ParameterGroups groups(config); }),
                 {"callbacks: ema", "adamw_schedule_free"});
      continue;
    }
    OptimizerConfig without = config;
    without.ema_decay = 0;
    const NamedTensor matrix{"a matrix", {64, 64}};
    const ParameterGroups groups(config), plain(without);
    CHECK(groups.has_averages());
    CHECK_FALSE(plain.has_averages());
    CHECK(groups.estimate_interval() == plain.estimate_interval());
    const Optimizer &averaged = *groups.all().front().optimizer, &of = *plain.all().front().optimizer;
    CHECK(averaged.states(matrix).size() == of.states(matrix).size() + 1);
    CHECK(averaged.takes_matrices() == of.takes_matrices());
    CHECK(averaged.updates_in_parts() == of.updates_in_parts());
    CHECK(averaged.takes_narrow_states() == of.takes_narrow_states());
    CHECK(averaged.rounds_stochastically() == of.rounds_stochastically());
    CHECK(averaged.memory() == of.memory());
  }
}
