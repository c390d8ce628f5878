// Schedule-free AdamW against its paper and its package: tests/golden/make_schedule_free_golden.py.
#include <cmath>

#include "kernels/host_data.hpp"
#include "tests/catch.hpp"
#include "tests/models/messages.hpp"
#include "tests/models/support.hpp"
#include "tests/optim/golden_trainer.hpp"

using namespace collie;
using namespace collie::test;
using nlohmann::json;

namespace {

json schedule_free_golden() {
  return read_json(golden_folder + "schedule_free.json");
}

constexpr int64_t numel = 7 * 13;  // of the golden's tensor

std::vector<float> first_weights() {
  std::vector<float> values;
  for (int64_t i = 0; i < numel; ++i)
    values.push_back(static_cast<float>(std::sin(1.7 * static_cast<double>(i) + 0.3)));
  return values;
}

std::vector<float> gradient(int64_t step) {
  std::vector<float> values;
  for (int64_t k = 0; k < numel; ++k) {
    const auto i = static_cast<double>(k), t = static_cast<double>(step);
    values.push_back(
        static_cast<float>(std::cos(0.37 * i + 0.9 * t) * (1 + 0.05 * i) + 0.5 * std::sin(2.3 * i)));
  }
  return values;
}

Tensor flat_of(Operations& operations, const std::vector<float>& values) {
  Tensor x = operations.empty({numel}, operations.accumulation_dtype(), Category::optimizer);
  operations.upload(values, x);
  return x;
}

// The golden's tensor, its states, and what is remembered.
struct Steps {
  Operations& operations;
  std::unique_ptr<Optimizer> optimizer =
      make_optimizer("adamw_schedule_free",
                     {{"lr", 1e-2}, {"betas", std::vector<double>{0.9, 0.95}}, {"weight_decay", 0.1}});
  Tensor y = flat_of(operations, first_weights()), z = flat_of(operations, first_weights()),
         v = flat_of(operations, std::vector<float>(numel));
  UpdateMemory memory = optimizer->memory();

  void step(int64_t count) {
    const double rate = 1e-2 * std::min(1.0, static_cast<double>(count) / 10);
    optimizer->remember(memory, rate, count);
    const std::string name = "w";
    ParameterRange range{name, y, flat_of(operations, gradient(count)), {z, v}, {}};
    optimizer->update(operations, {&range, 1}, {rate, count, {}, {}, memory});
  }

  Tensor average() {
    const AverageFormula formula = average_formula(*optimizer->average());
    Tensor x = flat_of(operations, std::vector<float>(numel));
    UpdateTensors range{x, y, {z}, {}};
    operations.update({&range, 1}, {formula.formula, formula.factors, {}, {}});
    return x;
  }
};

OptimizerConfig of_package() {
  OptimizerConfig config;
  config.name = "adamw_schedule_free";
  config.options = {{"lr", 1e-2}, {"betas", std::vector<double>{0.9, 0.95}}};
  return config;
}

std::vector<MicroBatch> batches_of(const json& documents) {
  std::vector<MicroBatch> batches;
  for (const json& each : documents) batches.push_back(pack(each));
  return batches;
}

double with_warmup(int step) {
  return std::min(1.0, step / 5.0);
}

std::vector<std::vector<float>> values_of(const std::vector<CheckpointSlice>& slices) {
  std::vector<std::vector<float>> values;
  for (const CheckpointSlice& slice : slices) {
    values.emplace_back(static_cast<size_t>(slice.data.numel()));
    host::download(slice.data, values.back());
  }
  return values;
}

}  // namespace

TEST_CASE("schedule-free AdamW follows its paper over 50 steps", "[golden][schedule_free]") {
  const std::string device = GENERATE(from_range(all_devices));
  const auto owner = make_operations(device);
  Steps steps{*owner.operations};
  const json all = schedule_free_golden().at("steps");
  // The reference's inputs are the same floats.
  for (int64_t count = 1; count <= 50; ++count) {
    steps.step(count);
    if (!all.contains(std::to_string(count))) continue;
    CAPTURE(device, count);
    const json& expected = all.at(std::to_string(count));
    const auto error = [&](const Tensor& found, const char* name) {
      return relative_error(values(*owner.operations, found), expected.at(name).get<std::vector<double>>());
    };
    CHECK(error(steps.y, "y") < 1e-6);
    CHECK(error(steps.z, "z") < 1e-6);
    CHECK(error(steps.v, "v") < 1e-6);
    CHECK(error(steps.average(), "x") < 1e-6);
  }
}

TEST_CASE("a whole model follows the package of schedule-free AdamW, and so do its averages",
          "[golden][schedule_free]") {
  const std::string name = GENERATE("llama_tied", "gpt2"), device = GENERATE(from_range(all_devices));
  CAPTURE(name, device);
  const std::string folder = golden_folder + name;
  const json expected = schedule_free_golden().at("models").at(name),
             steps = read_json(folder + "/golden.json")["steps"];
  auto owner = make_operations(device);
  GoldenTrainer trainer(folder, std::move(owner.operations), {}, of_package());
  REQUIRE(expected.at("losses").size() == 20);
  for (int step = 1; step <= 20; ++step) {
    CAPTURE(step);
    const size_t at = static_cast<size_t>(step - 1);
    const double loss = trainer.step(batches_of(steps[at % steps.size()]), with_warmup(step));
    CHECK(loss == Approx(expected.at("losses")[at].get<double>()).margin(1e-4).epsilon(0));
    if (step % 10 != 0) continue;
    const double average = expected.at("averages")[static_cast<size_t>(step / 10 - 1)].get<double>();
    CHECK(trainer.evaluate(batches_of(steps[0])) == Approx(average).margin(1e-4).epsilon(0));
  }
}

TEST_CASE("to evaluate averages changes no bit of what is trained, whatever is stored",
          "[schedule_free][bfloat16]") {
  struct Storage {
    DType dtype;
    bool master, narrow_states, stochastic;
  };
  const Storage storage =
      GENERATE(Storage{DType::f32, false, false, false}, Storage{DType::f32, false, true, true},
               Storage{DType::bf16, true, false, false}, Storage{DType::bf16, false, false, true},
               Storage{DType::bf16, false, true, true});
  const std::string folder = golden_folder + "llama_tied";
  const json steps = read_json(folder + "/golden.json")["steps"];
  CAPTURE(name(storage.dtype), storage.master, storage.narrow_states);
  Precision precision;
  precision.master = storage.master;
  precision.narrow_states = storage.narrow_states;
  precision.stochastic = storage.stochastic;
  const auto train = [&](bool evaluates) {
    GoldenTrainer trainer(folder, make_cpu_operations(1, std::make_shared<MemoryAccount>(), storage.dtype),
                          precision, of_package());
    std::vector<double> losses;
    double evaluated = 0;
    for (int step = 1; step <= 6; ++step) {
      losses.push_back(
          trainer.step(batches_of(steps[static_cast<size_t>(step - 1) % steps.size()]), with_warmup(step)));
      if (evaluates) evaluated = trainer.evaluate(batches_of(steps[0]));
    }
    if (evaluates) CHECK(evaluated != trainer.evaluate_trained(batches_of(steps[0])));
    return std::pair(losses, values_of(trainer.state().snapshot()));
  };
  const auto expected = train(false), found = train(true);
  CHECK(found.first == expected.first);
  CHECK(found.second == expected.second);
  CHECK(expected.first.back() < expected.first.front());
}

TEST_CASE("the memory of schedule-free AdamW is the share of each step in the average", "[schedule_free]") {
  const auto optimizer = make_optimizer("adamw_schedule_free", {{"weight_lr_power", 1.0}});
  UpdateMemory memory = optimizer->memory();
  std::vector<double> shares;
  const std::vector<double> rates{0, 1, 3, 2};  // the highest so far counts
  for (size_t i = 0; i < rates.size(); ++i) {
    optimizer->remember(memory, rates[i], static_cast<int64_t>(i) + 1);
    shares.push_back(memory.back());
  }
  CHECK(shares == std::vector<double>{0, 1, 3.0 / 4, 3.0 / 7});
}

TEST_CASE("schedule-free AdamW without an average is refused", "[schedule_free]") {
  OptimizerConfig config;
  config.name = "adamw_schedule_free";
  config.options = {{"betas", std::vector<double>{0, 0.9}}};
  const auto place = [](const std::string& key) { return key; };
  check_says(message_of([&] { check_options(config, place); }), {"optimizer.betas", "0", "above 0"});
}
