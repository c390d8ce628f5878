#include "optim/elementwise.hpp"
#include "optim/learning_rate.hpp"
#include "optim/optimizer.hpp"

namespace collie {

void Optimizer::estimate(Operations&, std::span<ParameterRange>, const EstimateArguments&) {
  COLLIE_ASSERT(false, "this optimizer estimates nothing: estimate_interval() says so");
}

Registry<OptimizerFactory>& optimizers() {
  static Registry<OptimizerFactory>& registry = []() -> Registry<OptimizerFactory>& {
    static Registry<OptimizerFactory> all("optimizer", "optimizer.name");
    for (const ElementwiseRule& rule : elementwise_rules()) all.add(rule.name, elementwise_optimizer(rule));
    return all;
  }();
  return registry;
}

void add_optimizer(const std::string& name, OptimizerDeclaration declaration, OptimizerFactory factory) {
  COLLIE_ASSERT(find_option(declaration.options, "lr") != nullptr, "the optimizer '{}' declares no lr", name);
  optimizers().add(name, std::move(factory));
  optimizer_declarations().add(name, std::move(declaration));
}

std::unique_ptr<Optimizer> make_optimizer(const std::string& name, const OptionValues& given) {
  return optimizers().find(name)(with_defaults(optimizer_declarations().find(name).options, given));
}

Registry<LearningRateFactory>& learning_rate_schedules() {
  static Registry<LearningRateFactory>& registry = []() -> Registry<LearningRateFactory>& {
    static Registry<LearningRateFactory> all("learning-rate schedule", "lr_scheduler.name");
    all.add("constant", make_constant_schedule);
    all.add("linear", make_linear_schedule);
    all.add("cosine", make_cosine_schedule);
    return all;
  }();
  return registry;
}

}  // namespace collie
