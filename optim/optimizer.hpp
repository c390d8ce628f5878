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
// of its dtype(). The gradient may be either, and so may states that are not wide (optimizer.state_dtype).
struct ParameterRange {
  const std::string& name;     // Hugging Face name
  Tensor weight, gradient;     // flat [numel]
  std::vector<Tensor> states;  // flat [numel] each, in the order of states()
  Tensor rounded;              // where defined: must get the new weight, as Operations::convert() rounds it
  uint64_t first_index = 0;    // of UpdateTensors
};

struct UpdateArguments {
  double lr = 0;             // of this step, from the schedule
  int64_t step = 1;          // from 1; of those that update something, which one without targets does not
  Tensor gradient_factor;    // f64 [1]: multiplies the gradient first (clipping); where it is NaN nothing may
                             // change
  Rounding rounding;         // of weights and states in bfloat16
  UpdateMemory memory = {};  // what remember() has made of it for this update
};

class Optimizer {
 public:
  virtual ~Optimizer() = default;
  // Of a parameter, each with its shape. There may be none.
  virtual std::vector<StateDeclaration> states() const = 0;
  // All ranges that a rank updates in a step, so that a device can do them at a time.
  virtual void update(Operations& operations, std::span<ParameterRange> ranges,
                      const UpdateArguments& arguments) = 0;
  // Whether update() does what arguments.rounding says.
  virtual bool rounds_stochastically() const { return false; }
  // Whether update() takes states in bfloat16, but for those that are wide.
  virtual bool takes_narrow_states() const { return false; }
  // What is remembered before the first update, and what an update adds before it is made, on any rank or
  // none.
  virtual UpdateMemory memory() const { return {}; }
  virtual void remember(UpdateMemory& /*memory*/, double /*lr*/, int64_t /*step*/) const {}
  // The weights that are evaluated and saved, if they are not those that are trained.
  virtual std::optional<WeightAverage> average() const { return {}; }
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
