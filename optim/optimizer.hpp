// Update rules. An optimizer owns no tensors: it says which states a parameter needs and updates flat ranges
// of it, so that the same rule serves a whole parameter and a ZeRO shard of one. One that needs whole
// matrices gets rectangles of them, and the groups of ranks that have the others.
#pragma once

#include <functional>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "base/registry.hpp"
#include "comm/collective_queue.hpp"
#include "io/config.hpp"
#include "io/learning_rate_options.hpp"
#include "io/optimizer_options.hpp"
#include "kernels/operations.hpp"
#include "models/parameter.hpp"

namespace collie {

// A range of one parameter, [begin, begin + numel) of its flattened elements. weight and states are of the
// operation table's accumulation_dtype(), but where there is no master copy: then weight is the model's own,
// of its dtype(). The gradient may be either, and so may states that are not wide (optimizer.state_dtype).
struct ParameterRange {
  const std::string& name;     // Hugging Face name
  Tensor weight, gradient;     // flat [numel]
  std::vector<Tensor> states;  // flat [numel] or [blocks], in the order of states()
  Tensor rounded;              // where defined: must get the new weight, as Operations::convert() rounds it
  uint64_t first_index = 0;    // of UpdateTensors
};

// A rectangle of a Hugging Face tensor that this rank updates. A vector is a matrix with one row.
struct MatrixRange {
  Tensor weight, gradient;      // [rows, columns], contiguous; dtypes as in ParameterRange
  std::vector<Tensor> states;   // the same; those with StateShape::elements, in the order of states()
  Tensor rounded;               // as in ParameterRange
  uint64_t first_index = 0;     // of UpdateTensors
  int64_t row = 0, column = 0;  // where it begins in the tensor
  bool transposed = false;      // its rows are the tensor's columns
  // False where another rank stands for this one in what is counted of the whole tensor: both have it.
  bool counts = true;
};

// Where such a rectangle stands, of any rank.
struct MatrixPart {
  Shape shape;  // [rows, columns], as MatrixRange::weight has it
  int64_t row = 0, column = 0;
  bool transposed = false;
};

// What this rank has of one tensor; it may be nothing.
struct MatrixShare {
  const NamedTensor& tensor;  // [rows, columns] or [columns]
  std::vector<MatrixRange> ranges;
  // Of whole rows and columns, the same on every rank; in the order of states().
  std::vector<Tensor> line_states;
  // Where the ranges that count stand, in their order, of any rank of the data and the tensor group.
  std::function<std::vector<MatrixPart>(int data, int tensor)> parts = {};

  int64_t rows() const { return tensor.shape.rank() == 1 ? 1 : tensor.shape[0]; }
  int64_t columns() const { return tensor.shape[-1]; }
};

// The ranks that have other parts of the same tensors, or the same parts; null if there are none.
struct MatrixGroups {
  ProcessGroup* tensor = nullptr;
  CollectiveQueue* data = nullptr;
  bool data_cut = false;  // each rank of the data group has parts of its own
};

struct UpdateArguments {
  double lr = 0;             // of this step, from the schedule
  int64_t step = 1;          // from 1; of those that update something, which one without targets does not
  Tensor gradient_factor;    // f64 [1]: multiplies the gradient first (clipping); where it is NaN nothing may
                             // change
  Rounding rounding;         // of weights and states in bfloat16
  UpdateMemory memory = {};  // what remember() has made of it for this update
};

struct EstimateArguments {
  int64_t targets = 0;     // the gradient is of the mean of so many losses
  Tensor gradient_factor;  // f64 [1]: 1, or NaN where nothing may change
  Rounding rounding;       // of states in bfloat16
};

Shape state_shape(const StateDeclaration& state, const NamedTensor& tensor);

class Optimizer {
 public:
  virtual ~Optimizer() = default;
  // Of a Hugging Face tensor, in accumulation_dtype(). There may be none.
  virtual std::vector<StateDeclaration> states(const NamedTensor& tensor) const = 0;
  // Whether update_matrices() is called, and not update().
  virtual bool takes_matrices() const { return false; }
  // All ranges that a rank updates in a step, so that a device can do them at a time.
  virtual void update(Operations& operations, std::span<ParameterRange> ranges,
                      const UpdateArguments& arguments);
  // All tensors of the group of parameters, of which the rank's stage has some part, in an order that is the
  // same on all ranks of the stage.
  virtual void update_matrices(Operations& operations, std::span<MatrixShare> shares,
                               const MatrixGroups& groups, const UpdateArguments& arguments);
  // A rule that estimates the curvature of the loss gets gradients for it, before its updates 1, 1 +
  // interval,
  // ...; 0: it never does. Their labels are sampled from the softmax of the logits
  // (models/sampled_labels.hpp), they are not clipped, and estimate() changes states alone.
  virtual int64_t estimate_interval() const { return 0; }
  virtual void estimate(Operations& operations, std::span<ParameterRange> ranges,
                        const EstimateArguments& arguments);
  // Whether some of the parameters may be updated before the others, in several calls for one step.
  virtual bool updates_in_parts() const { return false; }
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
// Gets the values in force of the options that the schedule has declared.
using LearningRateFactory = std::function<LearningRateSchedule(const OptionValues& options)>;
Registry<LearningRateFactory>& learning_rate_schedules();  // built in: optim/learning_rate.hpp
// Adds a schedule with its options, as add_optimizer() does.
void add_learning_rate_schedule(const std::string& name, OptionDeclaration declaration,
                                LearningRateFactory factory);
// Throws UserError if there is none of that name.
LearningRateSchedule make_learning_rate_schedule(const LearningRateConfig& config);
}  // namespace collie
