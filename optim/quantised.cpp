#include "optim/quantised.hpp"

#include <utility>

namespace collie {

namespace {

class QuantisedOptimizer final : public Optimizer {
 public:
  QuantisedOptimizer(std::string name, QuantisedUpdateRule rule)
      : name_(std::move(name)), rule_(std::move(rule)) {}

  // Large tensors have the codes of both moments, then the maxima of both. Their names are not those of
  // states that are numbers, so that no rule reads the one for the other.
  std::vector<StateDeclaration> states(const NamedTensor& tensor) const override {
    if (tensor.shape.numel() < rule_.least_numel) return rule_.adamw.states;
    std::vector<StateDeclaration> all;
    for (const StateDeclaration& state : rule_.adamw.states)
      all.push_back({.name = state.name + "_codes", .codes = true});
    for (const StateDeclaration& state : rule_.adamw.states)
      all.push_back({.name = state.name + "_absmax", .shape = StateShape::blocks, .wide = true});
    return all;
  }

  bool rounds_stochastically() const override { return true; }
  bool updates_in_parts() const override { return true; }
  bool takes_narrow_states() const override { return true; }  // those that are numbers

  void update(Operations& operations, std::span<ParameterRange> ranges,
              const UpdateArguments& arguments) override {
    COLLIE_ASSERT(arguments.step >= 1, "{}: step {} must count from 1", name_, arguments.step);
    std::vector<QuantisedTensors> quantised;
    std::vector<UpdateTensors> others;
    for (const ParameterRange& range : ranges) {
      const std::vector<Tensor>& states = range.states;
      if (states.size() == rule_.adamw.states.size())
        others.push_back({range.weight, range.gradient, states, range.rounded, range.first_index});
      else
        quantised.push_back({range.weight,
                             range.gradient,
                             {states.at(0), states.at(1)},
                             {states.at(2), states.at(3)},
                             range.rounded,
                             range.first_index});
    }
    const ElementwiseUpdate step{rule_.adamw.formula,
                                 factors_of(rule_.adamw, arguments.lr, arguments.step, {}),
                                 arguments.gradient_factor, arguments.rounding};
    if (!quantised.empty()) operations.update_quantised(quantised, step);
    if (!others.empty()) operations.update(others, step);
  }

 private:
  std::string name_;
  QuantisedUpdateRule rule_;
};

}  // namespace

OptimizerFactory quantised_optimizer(const QuantisedRule& rule) {
  return [&rule](const OptionValues& options) {
    return std::make_unique<QuantisedOptimizer>(rule.name, rule.with(options));
  };
}

}  // namespace collie
