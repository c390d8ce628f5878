// Update rules that work on each element by itself: what a rule declares, and all rules. A rule is one file
// kernels/rules/NAME.cpp, and its formula one file kernels/rules/NAME-inl.hpp.
//
// Rules by block (with a state per block, such as 8-bit moments) and by matrix (such as Muon, which needs the
// groups that hold the other parts of a matrix) will be declared beside ElementwiseRule. They are not
// elementwise: the operation update() and the cuts of ZeRO (optim/bucket_plan.hpp) stay as they are, and
// optim/optimizer.hpp is where such a rule gets its tensors.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "base/option.hpp"
#include "kernels/update_formula.hpp"

namespace collie {

using UpdateFactors = std::array<double, most_factors>;  // of one step, in the order of the formula's Factor

// A state has the parameter's shape and the operation table's accumulation_dtype().
struct StateDeclaration {
  std::string name;  // in checkpoints; as PyTorch calls it where PyTorch has it
  double initial = 0;
  bool operator==(const StateDeclaration&) const = default;
};

// What a rule estimates of the loss's curvature from gradients of their own, those of losses whose labels the
// model has sampled from its softmax.
struct CurvatureEstimate {
  int64_t interval = 0;  // before the rule's updates 1, 1 + interval, ...; 0: never
  size_t state = 0;      // the one that keeps it
  int formula = 0;       // has that state in the place of the weight, and no states
  std::function<UpdateFactors(int64_t targets)> factors = {};  // targets: the mean loss is over so many
};

// A rule whose options are known.
struct ElementwiseUpdateRule {
  int formula = 0;                                                // scalar::index_of<Formula>
  std::vector<StateDeclaration> states;                           // in the order of the formula's
  std::function<UpdateFactors(double lr, int64_t step)> factors;  // step: of the rule's updates, from 1
  CurvatureEstimate estimate = {};
};

struct ElementwiseRule {
  std::string name;             // as optimizer.name has it
  std::vector<Option> options;  // "lr" is one of them; it has the rate at its highest
  std::function<ElementwiseUpdateRule(const OptionValues&)> with;  // gets a value of every option
  // Options that contradict each other: the name of one, and what is wrong. ("", "") if there are none.
  std::function<std::pair<std::string, std::string>(const OptionValues&)> complaint = {};
};

// All rules, in the order of their names.
const std::vector<ElementwiseRule>& elementwise_rules();
// The rule of that name, which must be there.
const ElementwiseRule& elementwise_rule(const std::string& name);

// Options that several rules have.
Option learning_rate_option(double initial);
Option betas_option(double first, double second);
Option eps_option(double initial);
Option weight_decay_option(double initial, const std::string& doc);

// A formula's own properties, by its index.
struct FormulaProperties {
  const char* name;
  int states;
};
FormulaProperties formula_properties(int formula);

}  // namespace collie
