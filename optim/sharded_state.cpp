#include "optim/sharded_state.hpp"

#include "base/divide.hpp"

namespace collie {
namespace {

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
  norm_shares_ = collie::norm_shares(parameters_, plan_, sharding_);
  norm_sums_ = sums_of_shares(norm_shares_);
  gradients_ =
      std::make_unique<BucketGradients>(plan_, parameters_, sharding, operations,
                                        precision.gradients(operations), groups.data, groups.gradients);
  for (size_t bucket = 0; bucket < plan_.buckets().size(); ++bucket)
    for (const OwnedRange& range : plan_.owned(static_cast<int>(bucket), sharding.rank)) {
      if (parameter(range.id).tied_copy) continue;  // updated where its owner is
      Owned owned{range, static_cast<int>(bucket), optimizers->index_of(parameter(range.id).name), {}, {}};
      const auto state = [&] {
        const Shape shape{range.numel};
        return offload ? operations.empty_on_host(shape, operations.accumulation_dtype(), Category::optimizer)
                       : operations.empty(shape, operations.accumulation_dtype(), Category::optimizer);
      };
      if (precision.keeps_master(operations)) owned.master = state();
      while (owned.states.size() < states_of(owned).size()) owned.states.push_back(state());
      owned_.push_back(std::move(owned));
    }
}

void ShardedState::load(const std::function<void(ParameterId, Tensor&)>& fill) {
  load_weights(fill);
  for (Owned& owned : owned_) {
    const std::vector<StateDeclaration> states = states_of(owned);
    for (size_t i = 0; i < states.size(); ++i) operations_.fill(owned.states[i], states[i].initial);
  }
}

// The masters are what the weights are before they are rounded.
void ShardedState::load_weights(const std::function<void(ParameterId, Tensor&)>& fill) {
  weights_.load([&](ParameterId id, Tensor& values) {
    fill(id, values);
    const Tensor flat = values.reshape({values.numel()});
    for (Owned& owned : owned_)
      if (owned.range.id == id && owned.master.defined())
        operations_.copy(flat.rows(owned.range.begin, owned.range.begin + owned.range.numel), owned.master);
  });
}

void ShardedState::for_each_rectangle(
    const OwnedRange& range, const Tensor& flat,
    const std::function<void(const std::vector<int64_t>&, Tensor&)>& visit) const {
  const Parameter& of = parameter(range.id);
  int64_t at = 0;
  for (Rectangle& rectangle : rectangles_of_range(of.shape, range.begin, range.begin + range.numel)) {
    for (size_t axis = 0; axis < rectangle.offsets.size(); ++axis)
      rectangle.offsets[axis] += of.offsets[axis];
    const int64_t numel = rectangle.shape.numel();
    Tensor elements = flat.rows(at, at + numel).reshape(rectangle.shape);
    visit(rectangle.offsets, elements);
    at += numel;
  }
}

void ShardedState::read(const Checkpoint& checkpoint, const std::string& state, const OwnedRange& range,
                        const Tensor& flat) const {
  const Parameter& of = parameter(range.id);
  for_each_rectangle(range, flat, [&](const std::vector<int64_t>& offsets, Tensor& elements) {
    if (elements.device() == DeviceKind::cpu)
      return checkpoint.read(of.name, state, of.global_shape, offsets, elements);
    Tensor values = Tensor::host(elements.shape(), elements.dtype(), std::make_shared<MemoryAccount>(),
                                 Category::workspace);
    checkpoint.read(of.name, state, of.global_shape, offsets, values);
    operations_.from_host(values, elements);
  });
}

void ShardedState::load(const Checkpoint& checkpoint) {
  load_weights([&](ParameterId id, Tensor& values) {
    read(checkpoint, "weight", {id, 0, values.numel(), 0}, values.reshape({values.numel()}));
  });
  for (const Owned& owned : owned_) {
    const std::vector<StateDeclaration> states = states_of(owned);
    for (size_t i = 0; i < states.size(); ++i) read(checkpoint, states[i].name, owned.range, owned.states[i]);
  }
}

void ShardedState::sum_squares(Tensor& values) const {
  int64_t count = 0;
  for (const NormShare& share : norm_shares_) count += blocks_of(share);
  Tensor blocks = operations_.empty({count}, DType::f64, Category::workspace);
  int64_t at = 0;
  for (const NormShare& share : norm_shares_) {
    Tensor sums = blocks.rows(at, at + blocks_of(share));
    operations_.block_sums_of_squares(view(gradients_->part(share.bucket), share.range), sums);
    at += sums.numel();
  }
  operations_.tree_sums(blocks, norm_sums_, values);
}

ParameterRange ShardedState::range_of(Owned& owned) {
  const Tensor weight = view(weights_.part(owned.bucket), owned.range);
  ParameterRange range{parameter(owned.range.id).name,
                       weight,
                       view(gradients_->part(owned.bucket), owned.range),
                       owned.states,
                       {}};
  if (owned.master.defined()) {
    range.weight = owned.master;
    range.rounded = weight;
  }
  if (precision_.stochastic) range.first_index = rounding_index(range.name, first_element(owned.range));
  return range;
}

void ShardedState::update(double lr_factor, UpdateArguments arguments) {
  if (precision_.stochastic) arguments.rounding = stochastic_rounding(precision_.seed, arguments.step);
  weights_.wait();
  std::vector<std::vector<ParameterRange>> ranges(optimizers_->all().size());  // [groups]
  for (Owned& owned : owned_) ranges[owned.group].push_back(range_of(owned));
  for (size_t i = 0; i < ranges.size(); ++i) {
    const ParameterGroups::Group& group = optimizers_->all()[i];
    arguments.lr = group.lr * lr_factor;
    if (!ranges[i].empty()) group.optimizer->update(operations_, ranges[i], arguments);
  }
  for (size_t bucket = 0; bucket < plan_.buckets().size(); ++bucket)
    if (!parameter(plan_.buckets()[bucket].slots.front().id).tied_copy)
      weights_.publish(static_cast<int>(bucket));
}

// Of the range, in the Hugging Face tensor.
int64_t ShardedState::first_element(const OwnedRange& range) const {
  const Parameter& of = parameter(range.id);
  int64_t index = 0, begin = range.begin;
  int64_t inner = of.shape.numel();
  for (int axis = 0; axis < of.shape.rank(); ++axis) {
    inner /= of.shape[axis];
    index = index * of.global_shape[axis] + of.offsets[static_cast<size_t>(axis)] + begin / inner;
    begin %= inner;
  }
  return index;
}

std::vector<CheckpointSlice> ShardedState::snapshot() const {
  std::vector<CheckpointSlice> slices;
  for (const Owned& owned : owned_) {
    const Parameter& of = parameter(owned.range.id);
    if (!is_primary(of, sharding_)) continue;
    const auto add = [&](const std::string& state, const Tensor& flat) {
      for_each_rectangle(owned.range, flat, [&](const std::vector<int64_t>& offsets, Tensor& elements) {
        slices.push_back(
            {of.name, state, of.global_shape, offsets, operations_.to_host(elements, Category::workspace)});
      });
    };
    add("weight", owned.master.defined() ? owned.master : view(weights_.part(owned.bucket), owned.range));
    const std::vector<StateDeclaration> states = states_of(owned);
    for (size_t i = 0; i < states.size(); ++i) add(states[i].name, owned.states[i]);
  }
  return slices;
}

}  // namespace collie
