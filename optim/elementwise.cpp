#include "optim/elementwise.hpp"

namespace collie {
namespace {

class ElementwiseOptimizer final : public Optimizer {
 public:
  ElementwiseOptimizer(std::string name, ElementwiseUpdateRule rule)
      : name_(std::move(name)), rule_(std::move(rule)) {}

  std::vector<StateDeclaration> states(const NamedTensor&) const override { return rule_.states; }

  bool rounds_stochastically() const override { return true; }
  // An estimate needs the gradients of all parameters at a time, and what is remembered that of a whole step.
  bool updates_in_parts() const override { return rule_.estimate.interval == 0 && rule_.memory.empty(); }

  bool takes_narrow_states() const override { return true; }

  UpdateMemory memory() const override { return rule_.memory; }

  void remember(UpdateMemory& memory, double lr, int64_t step) const override {
    if (rule_.remember) rule_.remember(memory, lr, step);
  }

  std::optional<WeightAverage> average() const override { return rule_.average; }

  void update(Operations& operations, std::span<ParameterRange> ranges,
              const UpdateArguments& arguments) override {
    COLLIE_ASSERT(arguments.step >= 1, "{}: step {} must count from 1", name_, arguments.step);
    std::vector<UpdateTensors> tensors;
    tensors.reserve(ranges.size());
    for (const ParameterRange& range : ranges)
      tensors.push_back({range.weight, range.gradient, range.states, range.rounded, range.first_index});
    operations.update(tensors,
                      {rule_.formula, factors_of(rule_, arguments.lr, arguments.step, arguments.memory),
                       arguments.gradient_factor, arguments.rounding});
  }

  int64_t estimate_interval() const override { return rule_.estimate.interval; }

  void estimate(Operations& operations, std::span<ParameterRange> ranges,
                const EstimateArguments& arguments) override {
    std::vector<UpdateTensors> tensors;
    tensors.reserve(ranges.size());
    for (const ParameterRange& range : ranges)
      tensors.push_back({range.states.at(rule_.estimate.state), range.gradient, {}, {}, range.first_index});
    operations.update(tensors, {rule_.estimate.formula, rule_.estimate.factors(arguments.targets),
                                arguments.gradient_factor, arguments.rounding});
  }

 private:
  std::string name_;
  ElementwiseUpdateRule rule_;
};

}  // namespace

OptimizerFactory elementwise_optimizer(const ElementwiseRule& rule) {
  return [&rule](const OptionValues& options) {
    return std::make_unique<ElementwiseOptimizer>(rule.name, rule.with(options));
  };
}

}  // namespace collie
