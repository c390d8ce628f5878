// Every built-in rule against the library that it follows: tests/golden/make_optimizer_golden.py.
#include <fstream>
#include <set>

#include "optim/optimizer.hpp"
#include "tests/catch.hpp"
#include "tests/models/messages.hpp"
#include "tests/models/support.hpp"
#include "tests/optim/rule_options.hpp"

using namespace collie;
using namespace collie::test;
using nlohmann::json;

namespace {

json golden() {
  return json::parse(std::ifstream(std::string(COLLIE_SOURCE_DIR) + "/tests/golden/optimizers.json"));
}

Tensor tensor_of(Operations& operations, const json& numbers) {
  const auto values = numbers.get<std::vector<float>>();
  Tensor x = operations.empty({static_cast<int64_t>(values.size())}, Category::workspace);
  operations.upload(values, x);
  return x;
}

}  // namespace

TEST_CASE("every update rule follows its library's steps", "[golden]") {
  const std::string device = GENERATE(from_range(all_devices));
  const json all = golden();
  const double tolerance = device == "reference" ? 1e-7 : 2e-6;  // values() rounds to float
  std::set<std::string> tested;
  for (const json& each : all.at("cases")) {
    const auto rule = each.at("rule").get<std::string>();
    tested.insert(rule);
    CAPTURE(device, rule, each.at("options").dump());
    const auto owner = make_operations(device);
    Operations& operations = *owner.operations;
    const auto optimizer = make_optimizer(rule, options_of_rule(rule, each.at("options")));
    Tensor weight = tensor_of(operations, all.at("first"));
    std::vector<Tensor> states;
    for (const StateDeclaration& state : optimizer->states({rule, weight.shape()})) {
      states.push_back(operations.empty(weight.shape(), Category::optimizer));
      operations.fill(states.back(), state.initial);
      if (state.starts_as_weight) operations.copy(weight, states.back());
    }
    UpdateMemory memory = optimizer->memory();
    for (size_t step = 0; step < all.at("rates").size(); ++step) {
      CAPTURE(step);
      const double rate = all.at("rates")[step].get<double>();
      const auto count = static_cast<int64_t>(step) + 1;
      optimizer->remember(memory, rate, count);
      ParameterRange range{rule, weight, tensor_of(operations, all.at("gradients")[step]), states, {}};
      optimizer->update(operations, {&range, 1}, {rate, count, {}, {}, memory});
      CHECK(relative_error(values(operations, weight), each.at("weights")[step].get<std::vector<double>>()) <
            tolerance);
    }
    REQUIRE(each.at("states").size() == states.size());
    for (size_t i = 0; i < states.size(); ++i) {
      const std::string name = optimizer->states({rule, weight.shape()})[i].name;
      CAPTURE(name);
      CHECK(relative_error(values(operations, states[i]),
                           each.at("states").at(name).get<std::vector<double>>()) < tolerance);
    }
  }
  tested.insert("sophia");  // its estimates: test_rule_steps.cpp
  for (const ElementwiseRule& rule : elementwise_rules()) CHECK(tested.count(rule.name) == 1);
}
