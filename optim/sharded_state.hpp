// Everything that one stage of a rank holds of training but its activations: weights, gradients and optimizer
// states, in buckets that the ranks of the data group share (bucket_plan.hpp).
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "io/checkpoint.hpp"
#include "kernels/importance.hpp"
#include "models/pieces.hpp"
#include "models/stage_model.hpp"
#include "optim/bucket_gradients.hpp"
#include "optim/bucket_weights.hpp"
#include "optim/gradient_norm.hpp"
#include "optim/parameter_groups.hpp"
#include "optim/precision.hpp"
#include "optim/shared_matrices.hpp"

namespace collie {

// A step whose update is made inside backward, bucket by bucket.
struct FusedStep {
  bool updates = true;   // or the norm alone is taken, of gradients that are freed
  double lr_factor = 0;  // as of ShardedState::update
  UpdateArguments arguments{};
  std::vector<UpdateMemory> memory{};
  double clip_grad_value = 0;  // of ShardedState::clamp_gradients; 0: none
  // f64 [n], where the head is: losses that are complete before the first bucket is. Nothing is updated if
  // their sum is not finite.
  Tensor losses{};
  std::vector<int> later{};  // buckets that ShardedState::update updates, when their gradients are complete
};

class ShardedState {
 public:
  struct Groups {
    CollectiveQueue* data = nullptr;  // null where the data group has one rank
    GradientGroups gradients;
    // The stage's parameters on each rank of gradients.tensor; empty where there is no such group.
    std::vector<std::vector<Parameter>> parameters = {};
  };

  // `optimizers`: null where nothing is trained; then there are weights alone. `offload`: optimizer states
  // and masters are in the host's memory. All references outlive it.
  ShardedState(const StageModel& model, const DataSharding& sharding, Operations& operations,
               const ParameterGroups* optimizers, const Precision& precision, bool offload,
               const Groups& groups);

  // Every weight from fill(id, values), which gives the values of the parameter's rectangle, in
  // accumulation_dtype(); optimizer states as they begin.
  void load(const std::function<void(ParameterId, Tensor&)>& fill);
  // All of it from a checkpoint of any layout; where nothing is trained, the weights that are evaluated.
  // Throws UserError where that lacks something.
  void load(const Checkpoint& checkpoint);
  // Fills `weight`, which is of the parameter's shape, with the checkpoint's evaluated values.
  void read_weight(ParameterId id, const Checkpoint& checkpoint, Tensor& weight) const;

  BucketWeights& weights() { return weights_; }
  BucketGradients& gradients() { return *gradients_; }
  const BucketPlan& plan() const { return plan_; }

  // The gradients of a step follow, which is updated bucket by bucket. The ranks that share the stage make
  // the same calls.
  void start_fused_step(int micro_batches, FusedStep step);
  // The gradients of any other step.
  void start_step(int micro_batches);

  // What this rank contributes to the gradient's norm (optim/gradient_norm.hpp), of parameters by
  // ParameterId.
  const std::vector<NormShare>& norm_shares() const { return norm_shares_; }
  // The sums of squares of their nodes, one share after another. values f64 [norm_values()].
  void sum_squares(Tensor& values);
  int64_t norm_values() const { return static_cast<int64_t>(norm_sums_.starts.size()) - 1; }
  // Clamps every element of the gradients that this rank updates by to [-limit, limit], as PyTorch's
  // clip_grad_value_. They must be complete: reduced, and a tied matrix's two added.
  void clamp_gradients(double limit);
  // Updates what this rank owns and lets the others of the data group have it. lr_factor: of each group's lr;
  // memory: of each group, for this update; it may be empty where none remembers anything. arguments.lr and
  // arguments.memory are not read.
  void update(double lr_factor, UpdateArguments arguments, const std::vector<UpdateMemory>& memory = {});
  // update() in two parts, for who changes weights or needs gradients in between. Not of a fused step.
  void update_own(double lr_factor, UpdateArguments arguments, const std::vector<UpdateMemory>& memory);
  void finish_update();

  // --- triplets of which some are kept (Parameter::triplet), between the two above

  // Adds the sensitivity of what this rank updated to its importance. factor: of UpdateArguments.
  void add_importance(const ImportanceDecay& decay, const Tensor& factor);
  // What stands for this rank of the scores of triplets' elements: importance times uncertainty.
  struct ScoreRoots {
    TripletPart part = TripletPart::none;
    std::string tensor;  // the name of A, B or E
    Shape tensor_shape;  // of the whole
    MatrixPart place;    // of `roots` in it
    Tensor roots;        // of the scores, in accumulation_dtype(); of place.shape
  };
  std::vector<ScoreRoots> score_roots() const;
  // The ranks that have other parts of the triplets of this stage.
  const MatrixGroups& matrix_groups() const { return matrix_groups_; }
  // kept(tensor, k): whether triplet k of E, the tensor of that name, is kept. It is remembered.
  void set_kept(const std::function<bool(const std::string& tensor, int64_t k)>& kept);
  // The values of those that are not become zero.
  void drop_others();
  // Lets the optimizers that want it before the update of that number have the gradients for their estimates
  // of the curvature. No weight changes. arguments.rounding is not read.
  void estimate(int64_t update, EstimateArguments arguments);
  // Lets the weights be what is evaluated (Optimizer::average), and then, to the bit, what is trained again.
  // A weight without a master is kept meanwhile. If it is `published`, the others of the data group get the
  // weights, too. The second one may come without the first, or after
  // one of the two has failed.
  void use_averages();
  void use_trained(bool published);
  // change(bucket, part) may write this rank's part of each bucket of weights, flat; each storage comes once.
  // If it is `published`, what is on its way is waited for, and the others of the data group get the part.
  void change_weights(const std::function<void(int bucket, Tensor& part)>& change, bool published);
  // What this rank writes to a checkpoint, copied. A weight with a master is written as that.
  std::vector<CheckpointSlice> snapshot() const;

 private:
  // A range of one piece of a parameter that this rank updates, or, if it is frozen, writes to checkpoints.
  struct Owned {
    OwnedRange range;
    int bucket = 0;
    NamedTensor tensor;
    size_t group = 0;                    // of the optimizers'
    Tensor master;                       // [numel], where the weights are narrower
    std::vector<Tensor> states;          // [numel] or [blocks], in the order of states_of()
    std::vector<Tensor> triplet_states;  // [numel] in the order of triplet_states(), on the device
    Tensor trained;  // [numel], the weight without a master while its average is in its place
  };

  const Parameter& parameter(ParameterId id) const { return parameters_[static_cast<size_t>(id)]; }
  Tensor view(const Tensor& part, const OwnedRange& range) const {
    return part.rows(range.at, range.at + range.numel);
  }
  // But for those of rows and columns, which SharedMatrices has.
  std::vector<StateDeclaration> states_of(const Owned& owned) const;
  // Those of the parts of triplets, beside the optimizer's.
  std::vector<StateDeclaration> triplet_states(const Owned& owned) const;
  using StateVisit = std::function<void(const StateDeclaration& state, const Tensor& values)>;
  void for_each_state(const Owned& owned, const StateVisit& visit) const;
  std::optional<WeightAverage> average_of(const Owned& owned) const {
    if (!parameter(owned.range.id).trainable) return {};
    return optimizers_->all()[owned.group].optimizer->average();
  }
  Tensor kept(int64_t numel, DType dtype) const;
  void use_average(Owned& owned, const WeightAverage& average);
  void publish_trained();
  using Chosen = std::function<bool(int bucket)>;
  ParameterRange range_of(Owned& owned);
  void append_ranges(Owned& owned, MatrixShare& share);
  std::vector<MatrixShare> shares_of(size_t group, const Chosen& chosen);
  void update_group(size_t group, const Chosen& chosen, const UpdateArguments& arguments);
  void update_groups(const Chosen& chosen, double lr_factor, UpdateArguments arguments,
                     const std::vector<UpdateMemory>& memory);
  void sum_squares_of(int bucket);
  void use_gradient(int bucket);
  void close_gate(int bucket);
  void finish_fused_step(UpdateArguments arguments);
  void sum_shares(std::span<const NormShare> shares, const TreeRuns& runs, Tensor& values) const;
  std::vector<ParameterRange> ranges_of(size_t group, const Chosen& chosen);
  void load_weights(const std::function<void(ParameterId, Tensor&)>& fill);
  CheckpointSlice slice_of(const TensorRectangle& rectangle, const std::string& state, const Tensor& flat,
                           int64_t first) const;
  using ReadRectangle = std::function<void(const TensorRectangle& rectangle, Tensor& values)>;
  void read(const Parameter& of, int64_t begin, const Tensor& flat,
            const ReadRectangle& read_rectangle) const;

  const std::vector<Parameter>& parameters_;
  DataSharding sharding_;
  Operations& operations_;
  const ParameterGroups* optimizers_;
  Precision precision_;
  BucketPlan plan_;
  BucketWeights weights_;
  std::unique_ptr<BucketGradients> gradients_;  // where something is trained
  std::vector<Owned> owned_;                    // without tied copies, in the order of the buckets
  std::unique_ptr<SharedMatrices> matrices_;    // where something is trained
  MatrixGroups matrix_groups_;
  bool offload_ = false;
  bool has_averages_in_use_ = false;
  std::vector<NormShare> norm_shares_;
  TreeRuns norm_sums_{{0}, {}, {}, {}};
  std::optional<FusedStep> fused_;  // the step that is being computed
  Tensor fused_sums_;               // f64 [norm_values()]
  Tensor gate_;                     // f64 [1]: what multiplies gradients; NaN since something was not finite
};

}  // namespace collie
