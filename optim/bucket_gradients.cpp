#include "optim/bucket_gradients.hpp"

#include <fmt/format.h>

#include <utility>

namespace collie {

BucketGradients::BucketGradients(const BucketPlan& plan, const std::vector<Parameter>& parameters,
                                 const DataSharding& sharding, Operations& operations, DType dtype, bool kept,
                                 CollectiveQueue* queue, const GradientGroups& groups)
    : plan_(plan),
      parameters_(parameters),
      sharding_(sharding),
      operations_(operations),
      dtype_(dtype),
      kept_(kept),
      queue_(queue),
      groups_(groups),
      states_(plan.buckets().size()),
      contributions_(parameters.size(), 0) {
  COLLIE_ASSERT(sharding.size == 1 || queue != nullptr, "a data group of {} has no queue", sharding.size);
  for (size_t bucket = 0; kept && bucket < states_.size(); ++bucket)
    if (plan.buckets()[bucket].trainable) allocate(static_cast<int>(bucket));
}

// What a step keeps of a bucket's gradient.
void BucketGradients::allocate(int bucket) {
  const Bucket& whole = plan_.buckets()[static_cast<size_t>(bucket)];
  State& state = states_[static_cast<size_t>(bucket)];
  Tensor& gradient = scatters_each() ? state.part : state.whole;
  gradient = operations_.empty({scatters_each() ? whole.part : whole.numel}, dtype_, Category::gradients);
  operations_.fill(gradient, 0);  // the padding travels with the rest
}

void BucketGradients::start_step(int micro_batches, FusedUse used) {
  COLLIE_ASSERT(micro_batches > 0, "a step of {} micro-batches", micro_batches);
  COLLIE_ASSERT(!used.use || !kept_, "gradients that are kept are used as they get complete");
  micro_batches_ = micro_batches;
  used_ = std::move(used);
  complete_.reset();
  contributions_.assign(contributions_.size(), 0);
  for (State& state : states_) {
    COLLIE_ASSERT(!state.reducing, "a step begins before the one before was finished");
    state.contributions = state.added = 0;
  }
}

void BucketGradients::start_micro_batch(int bucket) {
  // One whole gradient may be on its way while another fills: more would cost what the stage saves.
  before_.wait();
  const Bucket& whole = plan_.buckets()[static_cast<size_t>(bucket)];
  Tensor& buffer = states_[static_cast<size_t>(bucket)].whole;
  buffer = operations_.empty({whole.numel}, dtype_, Category::communication);
  // Only the padding: what is between the parameters and behind them.
  int64_t end = 0;
  const auto clear_up_to = [&](int64_t begin) {
    if (begin == end) return;
    Tensor gap = buffer.rows(end, begin);
    operations_.fill(gap, 0);
  };
  for (const BucketSlot& slot : whole.slots) {
    clear_up_to(slot.offset);
    end = slot.offset + slot.numel;
  }
  clear_up_to(whole.numel);
}

GradientTarget BucketGradients::open(ParameterId id) {
  if (!parameters_[static_cast<size_t>(id)].trainable) return {};
  State& state = state_of(id);
  const int contributed = contributions_.at(static_cast<size_t>(id));
  COLLIE_ASSERT(contributed < micro_batches_, "{} gets a gradient too many in a step of {} micro-batches",
                parameters_[static_cast<size_t>(id)].name, micro_batches_);
  if (!state.whole.defined())
    scatters_each() ? start_micro_batch(plan_.bucket_of(id)) : allocate(plan_.bucket_of(id));
  const BucketSlot& slot = plan_.slot_of(id);
  return {state.whole.rows(slot.offset, slot.offset + slot.numel)
              .reshape(parameters_[static_cast<size_t>(id)].shape),
          !scatters_each() && contributed > 0};
}

void BucketGradients::close(ParameterId id) {
  if (!parameters_[static_cast<size_t>(id)].trainable) return;
  State& state = state_of(id);
  ++contributions_.at(static_cast<size_t>(id));
  ++state.contributions;
  const int bucket = plan_.bucket_of(id);
  const auto slots = static_cast<int>(plan_.buckets()[static_cast<size_t>(bucket)].slots.size());
  const bool complete =
      scatters_each() ? state.contributions % slots == 0 : state.contributions == slots * micro_batches_;
  if (!complete) return;
  sum_shares(bucket);
  // The bucket before was reduced while this one was computed, and this one is while the next one is.
  use_complete();
  if (queue_ != nullptr) reduce(bucket);
  const bool last = state.contributions == slots * micro_batches_;
  if (last && used_.use && !used_.later[static_cast<size_t>(bucket)]) complete_ = bucket;
  if (queue_ == nullptr) use_complete();
}

void BucketGradients::use_complete() {
  if (!complete_) return;
  const int bucket = *complete_;
  State& state = states_[static_cast<size_t>(bucket)];
  complete_.reset();
  collect(state);
  used_.use(bucket);
  state.whole = state.part = Tensor();
}

void BucketGradients::release() {
  if (kept_) return;
  for (State& state : states_) state.whole = state.part = Tensor();
}

// A parameter that several tensor ranks hold, each with a share of the gradient: on this thread, in the order
// in which buckets get complete, which is the same on all of them.
void BucketGradients::sum_shares(int bucket) {
  for (const BucketSlot& slot : plan_.buckets()[static_cast<size_t>(bucket)].slots) {
    const Parameter& parameter = parameters_[static_cast<size_t>(slot.id)];
    const GradientShares shares = parameter.gradient_shares;
    ProcessGroup* const group = shares == GradientShares::tensor      ? groups_.tensor
                                : shares == GradientShares::key_value ? groups_.key_value
                                                                      : nullptr;
    if (group == nullptr) continue;
    Tensor gradient = states_[static_cast<size_t>(bucket)].whole.rows(slot.offset + parameter.own_numel(),
                                                                      slot.offset + slot.numel);
    group->all_reduce_sum(gradient);
  }
}

void BucketGradients::reduce(int bucket) {
  State& state = states_[static_cast<size_t>(bucket)];
  const std::string label = fmt::format("reduce {}", bucket);
  const auto bytes = static_cast<int64_t>(state.whole.bytes());
  if (sharding_.stage() == 0) {
    state.reduction = queue_->submit(
        label, [whole = state.whole](ProcessGroup& group) mutable { group.all_reduce_sum(whole); }, bytes);
  } else if (sharding_.stage() == 1) {
    state.reduction = queue_->submit(
        label,
        [whole = state.whole, mine = part(bucket)](ProcessGroup& group) mutable {
          group.reduce_scatter_sum(whole, mine);
        },
        bytes);
  } else {
    collect(state);  // the micro-batch before
    state.arriving = operations_.empty({plan_.buckets()[static_cast<size_t>(bucket)].part}, dtype_,
                                       Category::communication);
    // The operation holds the only handle to the whole gradient, which goes with it.
    state.reduction = queue_->submit(
        label,
        [whole = std::move(state.whole), mine = state.arriving](ProcessGroup& group) mutable {
          group.reduce_scatter_sum(whole, mine);
        },
        bytes);
    state.whole = Tensor();
    before_ = std::exchange(latest_, state.reduction);
  }
  state.reducing = true;
}

void BucketGradients::collect(State& state) {
  if (!state.reducing) return;
  state.reducing = false;
  state.reduction.wait();
  if (!scatters_each()) return;
  if (!state.part.defined())
    state.part = operations_.empty(state.arriving.shape(), dtype_, Category::gradients);
  if (state.added++ == 0)
    operations_.copy(state.arriving, state.part);
  else
    operations_.add(state.part, state.arriving, state.part);
  state.arriving = Tensor();
}

void BucketGradients::finish() {
  for (size_t id = 0; id < contributions_.size(); ++id)
    COLLIE_ASSERT(!parameters_[id].trainable || contributions_[id] == micro_batches_,
                  "{} has {} contributions after {} micro-batches", parameters_[id].name, contributions_[id],
                  micro_batches_);
  use_complete();
  for (State& state : states_) collect(state);
}

Tensor BucketGradients::part(int bucket) const {
  const Bucket& whole = plan_.buckets().at(static_cast<size_t>(bucket));
  const State& state = states_[static_cast<size_t>(bucket)];
  if (scatters_each()) return state.part;
  if (!whole.sharded() || !state.whole.defined()) return state.whole;
  return state.whole.rows(sharding_.rank * whole.part, (sharding_.rank + 1) * whole.part);
}

}  // namespace collie
