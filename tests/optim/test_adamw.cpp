#include <cmath>

#include "optim/optimizer.hpp"
#include "tests/catch.hpp"
#include "tests/models/messages.hpp"
#include "tests/models/support.hpp"

using namespace collie;
using namespace collie::test;

TEST_CASE("AdamW follows its formula over flat ranges", "[adamw]") {
  const std::string device = GENERATE(from_range(all_devices));
  CAPTURE(device);
  const auto owner = make_operations(device);
  Operations& operations = *owner.operations;
  OptimizerConfig config;
  config.betas = {0.8, 0.9};
  config.eps = 1e-6;
  config.weight_decay = 0.3;
  const auto optimizer = optimizers().find("adamw")(config);
  REQUIRE(optimizer->state_names() == std::vector<std::string>{"exp_avg", "exp_avg_sq"});
  constexpr int64_t numel = 37, cut = 13;  // the second part is another shard of the same parameter
  Tensor weight = random_tensor(operations, {numel}, "w"), m = operations.empty({numel}, Category::optimizer);
  Tensor v = operations.empty({numel}, Category::optimizer);
  operations.fill(m, 0);
  operations.fill(v, 0);
  std::vector<float> start = values(operations, weight);
  std::vector<double> w(start.begin(), start.end()), em(numel, 0.0), ev(numel, 0.0);
  const std::string name = "a";
  for (int64_t step = 1; step <= 3; ++step) {
    const double lr = 0.01 * static_cast<double>(step), scale = 0.5;
    Tensor factor = operations.empty({1}, DType::f64, Category::workspace);
    operations.fill(factor, scale);
    const Tensor gradient = random_tensor(operations, {numel}, fmt::format("g{}", step));
    const std::vector<float> g = values(operations, gradient);
    for (const auto& [begin, end] : {std::pair{int64_t{0}, cut}, std::pair{cut, numel}}) {
      ParameterRange range{name,
                           weight.rows(begin, end),
                           gradient.rows(begin, end),
                           {m.rows(begin, end), v.rows(begin, end)},
                           {}};
      optimizer->update(operations, {&range, 1}, {lr, step, factor, {}});
    }
    for (size_t i = 0; i < numel; ++i) {
      const double gi = scale * static_cast<double>(g[i]), t = static_cast<double>(step);
      w[i] *= 1 - lr * 0.3;
      em[i] = 0.8 * em[i] + 0.2 * gi;
      ev[i] = 0.9 * ev[i] + 0.1 * gi * gi;
      w[i] -=
          lr / (1 - std::pow(0.8, t)) * em[i] / (std::sqrt(ev[i]) / std::sqrt(1 - std::pow(0.9, t)) + 1e-6);
    }
  }
  const double tolerance = device == "reference" ? 1e-7 : 1e-6;  // values() rounds to float
  CHECK(relative_error(values(operations, weight), w) < tolerance);
  CHECK(relative_error(values(operations, m), em) < tolerance);
  CHECK(relative_error(values(operations, v), ev) < tolerance);
}

TEST_CASE("AdamW's settings are checked", "[adamw]") {
  const auto refusal = [](auto change) {
    OptimizerConfig config;
    change(config);
    return message_of([&] { optimizers().find("adamw")(config); });
  };
  check_says(refusal([](OptimizerConfig& c) { c.betas = {0.9}; }), {"optimizer.betas", "two"});
  check_says(refusal([](OptimizerConfig& c) { c.betas = {0.9, 1.0}; }), {"optimizer.betas", "1"});
  check_says(refusal([](OptimizerConfig& c) { c.eps = -1; }), {"optimizer.eps", "-1"});
  check_says(refusal([](OptimizerConfig& c) { c.weight_decay = -1; }), {"optimizer.weight_decay", "-1"});
}

TEST_CASE("optimizers are found by name, and a host program can add one", "[registry]") {
  check_says(message_of([] { optimizers().find("adam_w"); }), {"optimizer.name", "adam_w", "adamw"});
  struct Nothing final : Optimizer {
    std::vector<std::string> state_names() const override { return {}; }
    void update(Operations&, std::span<ParameterRange>, const UpdateArguments&) override {}
  };
  optimizers().add("nothing", [](const OptimizerConfig&) { return std::make_unique<Nothing>(); });
  CHECK(optimizers().find("nothing")({})->state_names().empty());
}
