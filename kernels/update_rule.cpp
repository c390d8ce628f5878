#include "kernels/update_rule.hpp"

#include <algorithm>

#include "base/error.hpp"
#include "kernels/rules/rules.hpp"
#include "kernels/rules/scalar_formulas.hpp"

namespace collie {

const std::vector<ElementwiseRule>& elementwise_rules() {
  static const std::vector<ElementwiseRule> all = all_rules();
  return all;
}

const std::vector<FactoredRule>& factored_rules() {
  static const std::vector<FactoredRule> all = {adafactor_rule(), adalomo_rule()};
  return all;
}

const std::vector<OrthogonalRule>& orthogonal_rules() {
  static const std::vector<OrthogonalRule> all = {muon_rule()};
  return all;
}

const std::vector<QuantisedRule>& quantised_rules() {
  static const std::vector<QuantisedRule> all = {adamw_8bit_rule()};
  return all;
}

const ElementwiseRule& elementwise_rule(const std::string& name) {
  const auto& all = elementwise_rules();
  const auto found =
      std::find_if(all.begin(), all.end(), [&](const auto& rule) { return rule.name == name; });
  COLLIE_ASSERT(found != all.end(), "there is no elementwise rule '{}'", name);
  return *found;
}

UpdateFactors factors_of(const ElementwiseUpdateRule& rule, double lr, int64_t step,
                         const UpdateMemory& memory) {
  UpdateFactors factors = rule.factors(lr, step);
  COLLIE_ASSERT(memory.size() == rule.memory.size(), "{} numbers are remembered, there must be {}",
                memory.size(), rule.memory.size());
  if (rule.recall) rule.recall(memory, factors);
  return factors;
}

AverageFormula average_formula(const WeightAverage& average) {
  using F = scalar::Average;
  AverageFormula formula{scalar::index_of<F>, {}};
  formula.factors[F::of_weight] = average.of_weight;
  formula.factors[F::of_state] = average.of_state;
  return formula;
}

Option learning_rate_option(double initial) {
  return {.name = "lr",
          .initial = initial,
          .doc = "the highest learning rate",
          .range = NumberRange::at_least(0),
          .aliases = {"learning_rate"}};
}

Option betas_option(double first, double second) {
  return {.name = "betas",
          .initial = std::vector<double>{first, second},
          .doc = "decay of the running means",
          .range = NumberRange::from_to_below(0, 1)};
}

Option eps_option(double initial) {
  return {.name = "eps",
          .initial = initial,
          .doc = "added to the denominator",
          .range = NumberRange::above(0),
          .aliases = {"epsilon"}};
}

Option weight_decay_option(double initial, const std::string& doc) {
  return {.name = "weight_decay", .initial = initial, .doc = doc, .range = NumberRange::at_least(0)};
}

FormulaProperties formula_properties(int formula) {
  FormulaProperties properties{nullptr, 0, 0};
  scalar::with_formula(formula, scalar::Formulas(), [&](auto each) {
    using Formula = decltype(each);
    static_assert(Formula::states <= most_states && Formula::factors <= most_factors);
    properties = {Formula::name, Formula::states, wide_states<Formula>};
  });
  COLLIE_ASSERT(properties.name != nullptr, "there is no update formula {}", formula);
  return properties;
}

}  // namespace collie
