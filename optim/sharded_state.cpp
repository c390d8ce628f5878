#include "optim/sharded_state.hpp"

#include <algorithm>
#include <utility>

#include "base/divide.hpp"
#include "kernels/host_data.hpp"
#include "models/pieces.hpp"
#include "optim/state_blocks.hpp"

namespace collie {
namespace {

bool every_bucket(int) {
  return true;
}

int64_t blocks_of(const NormShare& share) {
  return divide_up(share.range.numel, reduction_block);
}

}  // namespace

ShardedState::ShardedState(const StageModel& model, const DataSharding& sharding, Operations& operations,
                           const ParameterGroups* optimizers, const Precision& precision, bool offload,
                           const Groups& groups)
    : parameters_(model.parameters()),
      sharding_(sharding),
      operations_(operations),
      optimizers_(optimizers),
      precision_(precision),
      plan_(parameters_, model.range(), sharding),
      weights_(plan_, parameters_, sharding, operations, groups.data) {
  if (optimizers == nullptr) return;
  offload_ = offload;
  norm_shares_ = collie::norm_shares(parameters_, plan_, sharding_);
  norm_sums_ = sums_of_shares(norm_shares_);
  ProcessGroup* const tensor = groups.gradients.tensor;
  matrices_ = std::make_unique<SharedMatrices>(
      tensor != nullptr ? groups.parameters : std::vector<std::vector<Parameter>>(1, parameters_),
      tensor != nullptr ? tensor->rank() : 0, model.range(), sharding, *optimizers, operations);
  matrix_groups_ = {groups.gradients.tensor, groups.data, sharding.stage() > 0};
  gradients_ = std::make_unique<BucketGradients>(plan_, parameters_, sharding, operations,
                                                 precision.gradients(operations), !optimizers->fuses(),
                                                 groups.data, groups.gradients);
  for (size_t bucket = 0; bucket < plan_.buckets().size(); ++bucket)
    for (const OwnedRange& range :
         owned_pieces(plan_, parameters_, static_cast<int>(bucket), sharding_.rank)) {
      const Piece piece = piece_at(parameter(range.id), range.begin);
      Owned owned{range,
                  static_cast<int>(bucket),
                  named_tensor_of(parameter(range.id), piece),
                  optimizers->index_of(piece.tensor, piece.tensor_shape),
                  {},
                  {},
                  {},
                  {}};
      if (precision.keeps_master(operations) && parameter(range.id).trainable)
        owned.master = kept(range.numel, operations.accumulation_dtype());
      for (const StateDeclaration& state : states_of(owned))
        owned.states.push_back(kept(held_numel(state, range.numel), precision.state(operations, state)));
      owned.triplet_states.resize(triplet_states(owned).size());
      for (Tensor& state : owned.triplet_states)
        state = operations.empty({range.numel}, operations.accumulation_dtype(), Category::optimizer);
      owned_.push_back(std::move(owned));
    }
}

// Where masters and states are.
Tensor ShardedState::kept(int64_t numel, DType dtype) const {
  return offload_ ? operations_.empty_on_host({numel}, dtype, Category::optimizer)
                  : operations_.empty({numel}, dtype, Category::optimizer);
}

std::vector<StateDeclaration> ShardedState::states_of(const Owned& owned) const {
  if (!parameter(owned.range.id).trainable) return {};
  std::vector<StateDeclaration> states = optimizers_->all()[owned.group].optimizer->states(owned.tensor);
  std::erase_if(states, [](const StateDeclaration& state) {
    return state.shape == StateShape::rows || state.shape == StateShape::columns;
  });
  return states;
}

void ShardedState::for_each_state(const Owned& owned, const StateVisit& visit) const {
  const std::vector<StateDeclaration> states = states_of(owned), of_triplets = triplet_states(owned);
  for (size_t i = 0; i < states.size(); ++i) visit(states[i], owned.states[i]);
  for (size_t i = 0; i < of_triplets.size(); ++i) visit(of_triplets[i], owned.triplet_states[i]);
}

void ShardedState::load(const std::function<void(ParameterId, Tensor&)>& fill) {
  load_weights(fill);
  if (matrices_) matrices_->load(operations_);
  for (const Owned& owned : owned_)
    for_each_state(owned, [&](const StateDeclaration& state, Tensor values) {
      if (!state.starts_as_weight) operations_.fill(values, state.initial);
    });
}

// The masters, and states that start as weights, are what the weights are before they are rounded. States of
// a checkpoint are read over these.
void ShardedState::load_weights(const std::function<void(ParameterId, Tensor&)>& fill) {
  weights_.load([&](ParameterId id, Tensor& values) {
    fill(id, values);
    const Tensor flat = values.reshape({values.numel()});
    for (Owned& owned : owned_) {
      if (owned.range.id != id) continue;
      const Tensor own = flat.rows(owned.range.begin, owned.range.begin + owned.range.numel);
      if (owned.master.defined()) operations_.copy(own, owned.master);
      const std::vector<StateDeclaration> states = states_of(owned);
      for (size_t i = 0; i < states.size(); ++i)
        if (states[i].starts_as_weight) operations_.copy(own, owned.states[i]);
    }
  });
}

// Fills `flat`, elements [begin, begin + flat.numel()) of `of`, from float32 rectangles of its tensors.
void ShardedState::read(const Parameter& of, int64_t begin, const Tensor& flat,
                        const ReadRectangle& read_rectangle) const {
  const auto account = std::make_shared<MemoryAccount>();
  const auto on_host = [&](const Shape& shape, DType dtype) {
    return Tensor::host(shape, dtype, account, Category::workspace);
  };
  for_each_rectangle(of, begin, begin + flat.numel(), [&](const TensorRectangle& rectangle) {
    const int64_t at = rectangle.begin - begin;
    Tensor elements = flat.rows(at, at + rectangle.shape.numel());
    const bool narrow = elements.dtype() == DType::bf16 || elements.dtype() == DType::u8;
    if (elements.device() == DeviceKind::cpu && !rectangle.transposed && !narrow) {
      Tensor in_place = elements.reshape(rectangle.shape);
      return read_rectangle(rectangle, in_place);
    }
    Tensor values = on_host(rectangle.shape, DType::f32);
    read_rectangle(rectangle, values);
    if (rectangle.transposed) values = transposed_on_host(values, account, Category::workspace);
    if (narrow) {
      Tensor rounded = on_host(values.shape(), elements.dtype());
      host::upload({values.data<float>(), static_cast<size_t>(values.numel())}, rounded);
      values = rounded;
    }
    operations_.from_host(values.reshape({values.numel()}), elements);
  });
}

void ShardedState::read_weight(ParameterId id, const Checkpoint& checkpoint, Tensor& weight) const {
  read(parameter(id), 0, weight.reshape({weight.numel()}),
       [&](const TensorRectangle& rectangle, Tensor& values) {
         checkpoint.read_evaluated(rectangle.piece.tensor, rectangle.piece.tensor_shape, rectangle.offsets,
                                   values);
       });
}

void ShardedState::load(const Checkpoint& checkpoint) {
  load_weights([&](ParameterId id, Tensor& values) {
    read(parameter(id), 0, values.reshape({values.numel()}),
         [&](const TensorRectangle& rectangle, Tensor& weights) {
           const auto& [tensor, shape] = std::pair(rectangle.piece.tensor, rectangle.piece.tensor_shape);
           optimizers_ != nullptr ? checkpoint.read(tensor, "weight", shape, rectangle.offsets, weights)
                                  : checkpoint.read_evaluated(tensor, shape, rectangle.offsets, weights);
         });
  });
  if (matrices_) matrices_->load(operations_, checkpoint);
  for (const Owned& owned : owned_)
    for_each_state(owned, [&](const StateDeclaration& state, const Tensor& held) {
      const StatePlace place = place_of_state(state, parameter(owned.range.id), owned.range);
      read(place.of, place.begin, held, [&](const TensorRectangle& rectangle, Tensor& values) {
        checkpoint.read(rectangle.piece.tensor, state.name, rectangle.piece.tensor_shape, rectangle.offsets,
                        values);
      });
    });
}

// values f64 [nodes of the shares]
void ShardedState::sum_shares(std::span<const NormShare> shares, const TreeRuns& runs, Tensor& values) const {
  int64_t count = 0;
  for (const NormShare& share : shares) count += blocks_of(share);
  Tensor blocks = operations_.empty({count}, DType::f64, Category::workspace);
  int64_t at = 0;
  for (const NormShare& share : shares) {
    Tensor sums = blocks.rows(at, at + blocks_of(share));
    operations_.block_sums_of_squares(view(gradients_->part(share.bucket), share.range), sums);
    at += sums.numel();
  }
  operations_.tree_sums(blocks, runs, values);
}

void ShardedState::sum_squares(Tensor& values) {
  if (!fused_) return sum_shares(norm_shares_, norm_sums_, values);
  for (const int bucket : fused_->later) sum_squares_of(bucket);
  operations_.copy(fused_sums_, values);
}

// Whole buckets, because what lies between parameters is zero. A tied copy's gradient is in its owner's.
void ShardedState::clamp_gradients(double limit) {
  for (int bucket = 0; bucket < static_cast<int>(plan_.buckets().size()); ++bucket) {
    const Bucket& whole = plan_.buckets()[static_cast<size_t>(bucket)];
    if (!whole.trainable || parameter(whole.slots.front().id).tied_copy) continue;
    Tensor gradient = gradients_->part(bucket);
    if (gradient.defined()) operations_.clamp(gradient, limit);  // else it was, inside backward
  }
}

ParameterRange ShardedState::range_of(Owned& owned) {
  const Tensor weight = view(weights_.part(owned.bucket), owned.range);
  ParameterRange range{
      owned.tensor.name, weight, view(gradients_->part(owned.bucket), owned.range), owned.states, {}};
  if (owned.master.defined()) {
    range.weight = owned.master;
    range.rounded = weight;
  }
  if (precision_.stochastic)
    range.first_index =
        rounding_index(range.name, place_of(parameter(owned.range.id), owned.range.begin).second);
  return range;
}

// One range of a matrix or vector per rectangle.
void ShardedState::append_ranges(Owned& owned, MatrixShare& share) {
  const Parameter& of = parameter(owned.range.id);
  const int64_t begin = owned.range.begin;
  const ParameterRange whole = range_of(owned);
  const bool is_counted = of.stands_for_row(piece_at(of, begin).row);
  for_each_rectangle(of, begin, begin + owned.range.numel, [&](const TensorRectangle& rectangle) {
    const MatrixPart part = part_of(rectangle);
    const int64_t first = rectangle.begin - begin, last = first + part.shape.numel();
    const auto view_of = [&](const Tensor& flat) {
      return flat.defined() ? flat.rows(first, last).reshape(part.shape) : Tensor();
    };
    MatrixRange& range = share.ranges.emplace_back();
    range.weight = view_of(whole.weight);
    range.gradient = view_of(whole.gradient);
    range.rounded = view_of(whole.rounded);
    for (const Tensor& state : whole.states) range.states.push_back(view_of(state));
    range.first_index = whole.first_index + static_cast<uint64_t>(first);
    range.row = part.row;
    range.column = part.column;
    range.transposed = part.transposed;
    range.counts = is_counted;
  });
}

std::vector<MatrixShare> ShardedState::shares_of(size_t group, const Chosen& chosen) {
  std::vector<MatrixShare> shares = matrices_->shares_of(group, chosen);
  for (Owned& owned : owned_) {
    if (owned.group != group || !parameter(owned.range.id).trainable || !chosen(owned.bucket)) continue;
    const auto share = std::find_if(shares.begin(), shares.end(), [&](const MatrixShare& each) {
      return each.tensor.name == owned.tensor.name;
    });
    append_ranges(owned, *share);
  }
  return shares;
}

void ShardedState::update_group(size_t group, const Chosen& chosen, const UpdateArguments& arguments) {
  Optimizer& optimizer = *optimizers_->all()[group].optimizer;
  if (optimizer.takes_matrices()) {
    std::vector<MatrixShare> shares = shares_of(group, chosen);
    if (!shares.empty()) optimizer.update_matrices(operations_, shares, matrix_groups_, arguments);
    return;
  }
  std::vector<ParameterRange> ranges = ranges_of(group, chosen);
  if (!ranges.empty()) optimizer.update(operations_, ranges, arguments);
}

void ShardedState::update_groups(const Chosen& chosen, double lr_factor, UpdateArguments arguments,
                                 const std::vector<UpdateMemory>& memory) {
  if (precision_.stochastic) arguments.rounding = stochastic_rounding(precision_.seed, arguments.step);
  for (size_t group = 0; group < optimizers_->all().size(); ++group) {
    arguments.lr = optimizers_->all()[group].lr * lr_factor;
    if (!memory.empty()) arguments.memory = memory.at(group);
    update_group(group, chosen, arguments);
  }
}

std::vector<ParameterRange> ShardedState::ranges_of(size_t group, const Chosen& chosen) {
  std::vector<ParameterRange> ranges;
  for (Owned& owned : owned_)
    if (owned.group == group && parameter(owned.range.id).trainable && chosen(owned.bucket))
      ranges.push_back(range_of(owned));
  return ranges;
}

void ShardedState::estimate(int64_t update, EstimateArguments arguments) {
  // The random bits are not those of an update.
  if (precision_.stochastic) arguments.rounding = stochastic_rounding(precision_.seed, -update);
  for (size_t group = 0; group < optimizers_->all().size(); ++group) {
    Optimizer& optimizer = *optimizers_->all()[group].optimizer;
    if (!is_estimate_due(optimizer, update)) continue;
    std::vector<ParameterRange> ranges = ranges_of(group, every_bucket);
    if (!ranges.empty()) optimizer.estimate(operations_, ranges, arguments);
  }
}

void ShardedState::update(double lr_factor, UpdateArguments arguments,
                          const std::vector<UpdateMemory>& memory) {
  if (fused_) return finish_fused_step(std::move(arguments));
  update_own(lr_factor, std::move(arguments), memory);
  finish_update();
}

void ShardedState::update_own(double lr_factor, UpdateArguments arguments,
                              const std::vector<UpdateMemory>& memory) {
  COLLIE_ASSERT(!fused_, "an update in parts of a step that updates inside backward");
  weights_.wait();
  update_groups(every_bucket, lr_factor, std::move(arguments), memory);
}

void ShardedState::finish_update() {
  publish_trained();
  gradients_->release();
}

void ShardedState::start_step(int micro_batches) {
  fused_.reset();
  gradients_->start_step(micro_batches);
}

void ShardedState::publish_trained() {
  for (size_t bucket = 0; bucket < plan_.buckets().size(); ++bucket)
    if (plan_.buckets()[bucket].trainable && !parameter(plan_.buckets()[bucket].slots.front().id).tied_copy)
      weights_.publish(static_cast<int>(bucket));
}

void ShardedState::use_averages() {
  weights_.wait();
  has_averages_in_use_ = true;
  for (Owned& owned : owned_)
    if (const auto average = average_of(owned)) use_average(owned, *average);
  publish_trained();
}

void ShardedState::use_average(Owned& owned, const WeightAverage& average) {
  const Tensor weight = view(weights_.part(owned.bucket), owned.range);
  if (!owned.master.defined()) {
    owned.trained = kept(weight.numel(), weight.dtype());
    operations_.copy(weight, owned.trained);
  }
  const std::vector<StateDeclaration> states = states_of(owned);
  const auto at = std::find_if(states.begin(), states.end(),
                               [&](const StateDeclaration& state) { return state.name == average.state; });
  const AverageFormula formula = average_formula(average);
  UpdateTensors range{weight,
                      owned.master.defined() ? owned.master : owned.trained,
                      {owned.states.at(static_cast<size_t>(at - states.begin()))},
                      {}};
  operations_.update({&range, 1}, {formula.formula, formula.factors, {}, {}});
}

void ShardedState::use_trained(bool published) {
  if (!has_averages_in_use_) return;
  if (published) weights_.wait();
  for (Owned& owned : owned_) {
    if (!average_of(owned)) continue;
    Tensor weight = view(weights_.part(owned.bucket), owned.range);
    if (owned.master.defined())
      operations_.convert(owned.master, weight);
    else if (owned.trained.defined())
      operations_.copy(std::exchange(owned.trained, {}), weight);
  }
  if (published) publish_trained();
  has_averages_in_use_ = false;
}

void ShardedState::change_weights(const std::function<void(int bucket, Tensor& part)>& change,
                                  bool published) {
  if (published) weights_.wait();
  for (int bucket = 0; bucket < static_cast<int>(plan_.buckets().size()); ++bucket) {
    if (weights_.is_shared(bucket)) continue;
    Tensor part = weights_.part(bucket);
    change(bucket, part);
    if (published && plan_.buckets()[static_cast<size_t>(bucket)].sharded()) weights_.publish(bucket);
  }
}

// `flat` holds the parameter's elements from `first` on.
CheckpointSlice ShardedState::slice_of(const TensorRectangle& rectangle, const std::string& state,
                                       const Tensor& flat, int64_t first) const {
  const int64_t at = rectangle.begin - first;
  const Shape& shape = rectangle.shape;
  const Tensor elements = flat.rows(at, at + shape.numel());
  const Shape held = rectangle.transposed ? Shape{shape[1], shape[0]} : shape;
  Tensor values = operations_.to_host(elements.reshape(held), Category::workspace);
  if (rectangle.transposed)
    values = operations_.has_values()
                 ? transposed_on_host(values, operations_.account(), Category::workspace)
                 : operations_.to_host(elements.reshape(shape), Category::workspace);  // the plan counts it
  return {rectangle.piece.tensor, state, rectangle.piece.tensor_shape, rectangle.offsets, std::move(values)};
}

std::vector<CheckpointSlice> ShardedState::snapshot() const {
  std::vector<CheckpointSlice> slices;
  const bool first_of_stage =
      sharding_.rank == 0 && (matrix_groups_.tensor == nullptr || matrix_groups_.tensor->rank() == 0);
  if (matrices_ && first_of_stage) slices = matrices_->snapshot(operations_);
  for (const Owned& owned : owned_) {
    const Parameter& of = parameter(owned.range.id);
    if (!of.is_saved || !is_primary(of, plan_.buckets()[static_cast<size_t>(owned.bucket)], sharding_) ||
        !of.stands_for_row(piece_at(of, owned.range.begin).row))
      continue;
    const auto add = [&](const std::string& state, const StatePlace& place, const Tensor& flat) {
      for_each_rectangle(place.of, place.begin, place.begin + flat.numel(),
                         [&](const TensorRectangle& rectangle) {
                           slices.push_back(slice_of(rectangle, state, flat, place.begin));
                         });
    };
    add("weight", {of, owned.range.begin},
        owned.master.defined() ? owned.master : view(weights_.part(owned.bucket), owned.range));
    for_each_state(owned, [&](const StateDeclaration& state, const Tensor& values) {
      add(state.name, place_of_state(state, of, owned.range), values);
    });
  }
  return slices;
}

}  // namespace collie
