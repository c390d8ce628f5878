// Update rules: what a rule declares, and all rules. A rule is one file kernels/rules/NAME.cpp. The formula
// of one that works on each element by itself is one file kernels/rules/NAME-inl.hpp.
//
// Rules with factored moments see whole matrices in Hugging Face's shape, however ranks cut them. The cuts of
// ZeRO (optim/bucket_plan.hpp) stay as they are; optim/shared_matrices.hpp is where such a rule gets its
// tensors and the groups that hold the other parts of a matrix.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/option.hpp"
#include "kernels/matrix_tiles.hpp"
#include "kernels/update_formula.hpp"

namespace collie {

using UpdateFactors = std::array<double, most_factors>;  // of one step, in the order of the formula's Factor

// The shape of a state of a Hugging Face tensor [rows, columns]. A vector has no rows.
// Blocks are those of quantised states (kernels/dynamic_map.hpp), of the tensor as parameters store it:
// [rows, columns / 256] if that is whole, else [blocks] of the flattened tensor.
enum class StateShape : uint8_t { elements, rows, columns, blocks };

// A state is of the operation table's accumulation_dtype() unless optimizer.state_dtype says otherwise.
struct StateDeclaration {
  std::string name;  // in checkpoints; as PyTorch calls it where PyTorch has it
  double initial = 0;
  StateShape shape = StateShape::elements;
  bool starts_as_weight = false;  // instead of `initial`
  bool wide = false;              // never stored in bfloat16 (the formula's wide_states)
  bool codes = false;             // of 8 bits (DType::u8)
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
  std::optional<bool> master = {};            // optimizer.master
  std::optional<std::string> rounding = {};   // optimizer.rounding, where weights are updated in bfloat16
  std::optional<std::string> scheduler = {};  // lr_scheduler.name
  std::optional<bool> fused_update = {};      // optimizer.fused_update
};

// A rule whose options are known.
struct ElementwiseUpdateRule {
  int formula = 0;                                                // scalar::index_of<Formula>
  std::vector<StateDeclaration> states;                           // in the order of the formula's
  std::function<UpdateFactors(double lr, int64_t step)> factors;  // step: of the rule's updates, from 1
  CurvatureEstimate estimate = {};
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

// A rule with factored second moments (kernels/matrix_tiles.hpp) whose options are known.
struct FactoredUpdateRule {
  double momentum = 0;                                        // of every step
  std::function<FactoredStep(double lr, int64_t step)> step;  // step: of the rule's updates, from 1
};

struct FactoredRule {
  std::string name;
  std::vector<Option> options;
  std::function<FactoredUpdateRule(const OptionValues&)> with;
  KeyDefaults keys = {};
};

// A rule that moves hidden matrices by orthogonal matrices, and everything else as another rule does.
struct OrthogonalUpdateRule {
  ElementwiseUpdateRule direction;  // of gradients, what is made orthogonal
  int iterations = 0;
  int formula = 0;  // scalar::index_of<Formula>: of the weight, and of the orthogonal matrix as the gradient
  std::function<UpdateFactors(double lr, int64_t rows, int64_t columns)> factors;
  ElementwiseUpdateRule others;
};

struct OrthogonalRule {
  std::string name;
  std::vector<Option> options;
  std::function<OrthogonalUpdateRule(const OptionValues&)> with;
};

// AdamW whose states are 8-bit codes, but in tensors of fewer elements than `least_numel`.
struct QuantisedUpdateRule {
  ElementwiseUpdateRule adamw;
  int64_t least_numel = 0;
};

struct QuantisedRule {
  std::string name;
  std::vector<Option> options;
  std::function<QuantisedUpdateRule(const OptionValues&)> with;
  KeyDefaults keys = {};
};

// All rules of a kind, in the order of their names.
const std::vector<ElementwiseRule>& elementwise_rules();
const std::vector<FactoredRule>& factored_rules();
const std::vector<OrthogonalRule>& orthogonal_rules();
const std::vector<QuantisedRule>& quantised_rules();
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
