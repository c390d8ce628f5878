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
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/option.hpp"
#include "kernels/update_formula.hpp"

namespace collie {

using UpdateFactors = std::array<double, most_factors>;  // of one step, in the order of the formula's Factor

// A state has the parameter's shape, and the operation table's accumulation_dtype() unless
// optimizer.state_dtype says otherwise.
struct StateDeclaration {
  std::string name;  // in checkpoints; as PyTorch calls it where PyTorch has it
  double initial = 0;
  bool starts_as_weight = false;  // instead of `initial`
  bool wide = false;              // never stored in bfloat16 (the formula's wide_states)
  bool operator==(const StateDeclaration&) const = default;
};

// What a rule remembers of its updates beside the states of parameters: a few numbers, equal on all ranks.
// The trainer keeps them, sends them with each update, and writes them to checkpoints.
using UpdateMemory = std::vector<double>;

// The weights with which a model is evaluated, saved and used, where they are not those that are trained:
// of_weight * weight + of_state * state.
struct WeightAverage {
  std::string state;  // one of the rule's
  double of_weight = 1, of_state = 0;
};

// What a rule makes of keys of the configuration that are not given. Those that are given win.
struct KeyDefaults {
  std::optional<bool> master;            // optimizer.master
  std::optional<std::string> rounding;   // optimizer.rounding, where weights are updated in bfloat16
  std::optional<std::string> scheduler;  // lr_scheduler.name
};

// A rule whose options are known.
struct ElementwiseUpdateRule {
  int formula = 0;                                                // scalar::index_of<Formula>
  std::vector<StateDeclaration> states;                           // in the order of the formula's
  std::function<UpdateFactors(double lr, int64_t step)> factors;  // step: of the rule's updates, from 1
  // Where an update depends on the rates of those before it: the memory before the first one; what each
  // update adds to it, before it is made; and the factors that follow from it.
  UpdateMemory memory = {};
  std::function<void(UpdateMemory& memory, double lr, int64_t step)> remember = {};
  std::function<void(const UpdateMemory& memory, UpdateFactors& factors)> recall = {};
  std::optional<WeightAverage> average = {};
};

// The factors of an update whose rate `memory` has, if the rule remembers anything.
UpdateFactors factors_of(const ElementwiseUpdateRule& rule, double lr, int64_t step,
                         const UpdateMemory& memory);
// The formula that computes a WeightAverage: the weight becomes of_weight times what stands in the gradient's
// place, plus of_state times its one state.
struct AverageFormula {
  int formula = 0;
  UpdateFactors factors{};
};
AverageFormula average_formula(const WeightAverage& average);

struct ElementwiseRule {
  std::string name;             // as optimizer.name has it
  std::vector<Option> options;  // "lr" is one of them; it has the rate at its highest
  std::function<ElementwiseUpdateRule(const OptionValues&)> with;  // gets a value of every option
  // Options that contradict each other: the name of one, and what is wrong. ("", "") if there are none.
  std::function<std::pair<std::string, std::string>(const OptionValues&)> complaint = {};
  KeyDefaults keys = {};
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
  unsigned wide_states;
};
FormulaProperties formula_properties(int formula);

}  // namespace collie
