// Update rules. An optimizer owns no tensors: it says which states a parameter needs and updates flat ranges
// of it, so that the same rule serves a whole parameter and a ZeRO shard of one.
#pragma once

#include <functional>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "base/registry.hpp"
#include "io/config.hpp"
#include "io/optimizer_options.hpp"
#include "kernels/operations.hpp"

namespace collie {

// A range of one parameter, [begin, begin + numel) of its flattened elements. weight and states are of the
// operation table's accumulation_dtype(), but where there is no master copy: then weight is the model's own,
// of its dtype(). The gradient may be either.
struct ParameterRange {
  const std::string& name;     // Hugging Face name
  Tensor weight, gradient;     // flat [numel]
  std::vector<Tensor> states;  // flat [numel] each, in the order of states()
  Tensor rounded;              // where defined: must get the new weight, as Operations::convert() rounds it
  uint64_t first_index = 0;    // of UpdateTensors
};

struct UpdateArguments {
  double lr = 0;           // of this step, from the schedule
  int64_t step = 1;        // from 1; of those that update something, which one without targets does not
  Tensor gradient_factor;  // f64 [1]: multiplies the gradient first (clipping); where it is NaN nothing may
                           // change
  Rounding rounding;       // of weights in bfloat16
};

struct EstimateArguments {
  int64_t targets = 0;     // the gradient is of the mean of so many losses
  Tensor gradient_factor;  // f64 [1]: 1, or NaN where nothing may change
  Rounding rounding;       // of states in bfloat16
};

class Optimizer {
 public:
  virtual ~Optimizer() = default;
  // Of a parameter, each with its shape, in accumulation_dtype(). There may be none.
  virtual std::vector<StateDeclaration> states() const = 0;
  // All ranges that a rank updates in a step, so that a device can do them at a time.
  virtual void update(Operations& operations, std::span<ParameterRange> ranges,
                      const UpdateArguments& arguments) = 0;
  // A rule that estimates the curvature of the loss gets gradients for it, before its updates 1, 1 +
  // interval,
  // ...; 0: it never does. Their labels are sampled from the softmax of the logits
  // (models/sampled_labels.hpp), they are not clipped, and estimate() changes states alone.
  virtual int64_t estimate_interval() const { return 0; }
  virtual void estimate(Operations& operations, std::span<ParameterRange> ranges,
                        const EstimateArguments& arguments);
  // Whether update() does what arguments.rounding says.
  virtual bool rounds_stochastically() const { return false; }
};

// Gets a value of every option that the optimizer has declared.
using OptimizerFactory = std::function<std::unique_ptr<Optimizer>(const OptionValues& options)>;
Registry<OptimizerFactory>& optimizers();  // built in: the rules of kernels/rules/
// Adds an optimizer with its options, which the configuration then knows by name, or replaces the one of that
// name. A host program does this before it reads a configuration.
void add_optimizer(const std::string& name, OptimizerDeclaration declaration, OptimizerFactory factory);
// The optimizer of that name; options that are not given are at their defaults. Throws UserError if there is
// none.
std::unique_ptr<Optimizer> make_optimizer(const std::string& name, const OptionValues& given);

// The factor of lr at step t (from 1) of total_steps.
using LearningRateSchedule = std::function<double(int64_t step, int64_t total_steps)>;
using LearningRateFactory = std::function<LearningRateSchedule(const LearningRateConfig&)>;
Registry<LearningRateFactory>& learning_rate_schedules();  // built in: "constant", "linear", "cosine"
}  // namespace collie
