#include "optim/elementwise.hpp"
#include "optim/factored.hpp"
#include "optim/learning_rate.hpp"
#include "optim/muon.hpp"
#include "optim/optimizer.hpp"
#include "optim/quantised.hpp"
#include "optim/state_blocks.hpp"

namespace collie {

Shape state_shape(const StateDeclaration& state, const NamedTensor& tensor) {
  switch (state.shape) {
    case StateShape::elements:
      return tensor.shape;
    case StateShape::rows:
      return {tensor.shape[0]};
    case StateShape::columns:
      return {tensor.shape[-1]};
    case StateShape::blocks:
      return shape_of_blocks(tensor.shape, tensor.transposed);
  }
  COLLIE_ASSERT(false, "unknown shape of the state {}", state.name);
}

void Optimizer::update(Operations&, std::span<ParameterRange>, const UpdateArguments&) {
  COLLIE_ASSERT(false, "an optimizer that takes {} has no update of ranges",
                takes_matrices() ? "matrices" : "them");
}

void Optimizer::update_matrices(Operations&, std::span<MatrixShare>, const MatrixGroups&,
                                const UpdateArguments&) {
  COLLIE_ASSERT(false, "an optimizer that takes {} has no update of matrices",
                takes_matrices() ? "them" : "ranges");
}

void Optimizer::estimate(Operations&, std::span<ParameterRange>, const EstimateArguments&) {
  COLLIE_ASSERT(false, "this optimizer estimates nothing: estimate_interval() says so");
}

Registry<OptimizerFactory>& optimizers() {
  static Registry<OptimizerFactory>& registry = []() -> Registry<OptimizerFactory>& {
    static Registry<OptimizerFactory> all("optimizer", "optimizer.name");
    for (const ElementwiseRule& rule : elementwise_rules()) all.add(rule.name, elementwise_optimizer(rule));
    for (const FactoredRule& rule : factored_rules()) all.add(rule.name, factored_optimizer(rule));
    for (const OrthogonalRule& rule : orthogonal_rules()) all.add(rule.name, orthogonal_optimizer(rule));
    for (const QuantisedRule& rule : quantised_rules()) all.add(rule.name, quantised_optimizer(rule));
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
    all.add("cosine_with_restarts", make_cosine_with_restarts_schedule);
    all.add("polynomial", make_polynomial_schedule);
    all.add("inverse_sqrt", make_inverse_sqrt_schedule);
    all.add("one_cycle", make_one_cycle_schedule);
    all.add("warmup_stable_decay", make_warmup_stable_decay_schedule);
    all.add("step", make_step_schedule);
    return all;
  }();
  return registry;
}

void add_learning_rate_schedule(const std::string& name, OptionDeclaration declaration,
                                LearningRateFactory factory) {
  learning_rate_schedules().add(name, std::move(factory));
  learning_rate_declarations().add(name, std::move(declaration));
}

LearningRateSchedule make_learning_rate_schedule(const LearningRateConfig& config) {
  return learning_rate_schedules().find(config.name)(options_in_force(config));
}

}  // namespace collie
