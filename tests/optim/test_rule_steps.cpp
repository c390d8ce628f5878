// 50 steps of a rule against its paper's equations in double precision: tests/golden/make_rule_golden.py.
#include <fstream>

#include "base/random.hpp"
#include "optim/parameter_groups.hpp"
#include "tests/models/support.hpp"
#include "tests/optim/rule_options.hpp"

using namespace collie;
using namespace collie::test;
using nlohmann::json;

namespace {

// The tensors of the golden, flat, one after another.
class Tensors {
 public:
  Tensors(Operations& operations, const json& golden) : operations_(operations), seed_(golden.at("seed")) {
    for (const json& shape : golden.at("shapes")) {
      int64_t numel = 1;
      for (const json& size : shape) numel *= size.get<int64_t>();
      sizes_.push_back(numel);
      elements_ += numel;
    }
  }

  // Random numbers from -1 to 1 of the key; those of a gradient are of several magnitudes.
  std::vector<Tensor> draw(const std::string& purpose, int64_t step, bool weights) {
    const RandomStream stream(random_key(seed_, purpose));
    return from([&](int64_t i) {
      const double x = 2 * stream.uniform(static_cast<uint64_t>(step * elements_ + i)) - 1;
      return weights ? x : std::ldexp(x, static_cast<int>(-(i % 7)));
    });
  }
  std::vector<Tensor> filled(double value) {
    return from([&](int64_t) { return value; });
  }
  std::vector<double> read(const std::vector<Tensor>& tensors) {
    std::vector<double> all;
    for (const Tensor& tensor : tensors)
      for (const double x : values(operations_, tensor)) all.push_back(x);
    return all;
  }

 private:
  std::vector<Tensor> from(const std::function<double(int64_t)>& value) {
    std::vector<Tensor> tensors;
    int64_t at = 0;
    for (const int64_t size : sizes_) {
      std::vector<float> numbers;
      for (const int64_t end = at + size; at < end; ++at) numbers.push_back(static_cast<float>(value(at)));
      tensors.push_back(operations_.empty({size}, Category::workspace));
      operations_.upload(numbers, tensors.back());
    }
    return tensors;
  }

  Operations& operations_;
  uint64_t seed_;
  std::vector<int64_t> sizes_;
  int64_t elements_ = 0;
};

}  // namespace

TEST_CASE("50 steps of a rule are those of its paper's equations", "[golden]") {
  const std::string device = GENERATE(from_range(all_devices));
  const json golden =
      json::parse(std::ifstream(std::string(COLLIE_SOURCE_DIR) + "/tests/golden/rule_steps.json"));
  const auto owner = make_operations(device);
  Tensors tensors(*owner.operations, golden);
  for (const json& each : golden.at("cases")) {
    const auto rule = each.at("rule").get<std::string>();
    CAPTURE(device, rule, each.at("options").dump());
    const auto optimizer = make_optimizer(rule, options_of_rule(rule, each.at("options")));
    const std::vector<StateDeclaration> declared = optimizer->states({"a tensor", {1}});
    const std::vector<Tensor> weights = tensors.draw("weight", 0, true);
    std::vector<std::vector<Tensor>> states;  // [states][tensors]
    for (const StateDeclaration& state : declared) states.push_back(tensors.filled(state.initial));
    for (int64_t step = 1; step <= golden.at("steps").get<int64_t>(); ++step) {
      const auto ranges_with = [&](const std::string& purpose) {
        const std::vector<Tensor> gradients = tensors.draw(purpose, step - 1, false);
        std::vector<ParameterRange> ranges;
        for (size_t i = 0; i < weights.size(); ++i) {
          ranges.push_back({rule, weights[i], gradients[i], {}, {}});
          for (const std::vector<Tensor>& state : states) ranges.back().states.push_back(state[i]);
        }
        return ranges;
      };
      if (is_estimate_due(*optimizer, step)) {
        std::vector<ParameterRange> ranges = ranges_with("estimate");
        optimizer->estimate(*owner.operations, ranges, {golden.at("targets").get<int64_t>(), {}, {}});
      }
      std::vector<ParameterRange> ranges = ranges_with("gradient");
      optimizer->update(*owner.operations, ranges, {golden.at("lr").get<double>(), step, {}, {}});
    }
    CHECK(relative_error(tensors.read(weights), each.at("weights").get<std::vector<double>>()) < 1e-6);
    REQUIRE(each.at("states").size() == states.size());
    for (size_t i = 0; i < states.size(); ++i) {
      CAPTURE(declared[i].name);
      CHECK(relative_error(tensors.read(states[i]),
                           each.at("states").at(declared[i].name).get<std::vector<double>>()) < 1e-6);
    }
  }
}
