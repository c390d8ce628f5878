#include "optim/bucket_weights.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <unordered_map>
#include <utility>

#include "models/quantised_weights.hpp"

namespace collie {

BucketWeights::BucketWeights(const BucketPlan& plan, const std::vector<Parameter>& parameters,
                             const DataSharding& sharding, Operations& operations, CollectiveQueue* queue)
    : plan_(plan),
      parameters_(parameters),
      sharding_(sharding),
      operations_(operations),
      queue_(queue),
      storages_(plan.buckets().size()) {
  COLLIE_ASSERT(sharding.size == 1 || queue != nullptr, "a data group of {} has no queue", sharding.size);
  std::unordered_map<std::string, int> owners;
  for (size_t id = 0; id < parameters.size(); ++id)
    if (!parameters[id].tied_copy)
      owners.emplace(parameters[id].name, plan.bucket_of(static_cast<ParameterId>(id)));
  for (size_t bucket = 0; bucket < storages_.size(); ++bucket) {
    const Bucket& whole = plan.buckets()[bucket];
    const Parameter& first = parameters[static_cast<size_t>(whole.slots.front().id)];
    const auto owner = first.tied_copy ? owners.find(first.name) : owners.end();
    shared_with_.push_back(owner == owners.end() ? static_cast<int>(bucket) : owner->second);
    if (owner != owners.end()) continue;
    storages_[bucket].own = operations.empty({gathers() ? whole.part : whole.numel}, Category::weights);
    operations.fill(storages_[bucket].own, 0);  // the padding travels with the rest
  }
  for (size_t id = 0; id < parameters.size(); ++id)
    if (const Quantisation& quantisation = parameters[id].quantisation; quantisation.is_there())
      quantised_[static_cast<ParameterId>(id)] =
          make_quantised_matrix(operations, quantisation, held_part(parameters[id]));
}

void BucketWeights::load(const std::function<void(ParameterId, Tensor&)>& fill) {
  for (size_t bucket = 0; bucket < storages_.size(); ++bucket) {
    if (storage_of(static_cast<int>(bucket)) != static_cast<int>(bucket)) continue;
    const Tensor& own = storages_[bucket].own;
    if (gathers())
      for (const OwnedRange& range : plan_.owned(static_cast<int>(bucket), sharding_.rank))
        load_part(own, range, fill);
    else
      for (const BucketSlot& slot : plan_.buckets()[bucket].slots) load_whole(own, slot, fill);
  }
}

void BucketWeights::load_quantised(const std::function<void(ParameterId, QuantisedMatrix&)>& fill) {
  for (auto& [id, matrix] : quantised_) fill(id, matrix);
}

const QuantisedMatrix& BucketWeights::quantised(ParameterId id) const {
  const auto found = quantised_.find(id);
  return found == quantised_.end() ? ParameterSource::quantised(id) : found->second;
}

void BucketWeights::load_whole(const Tensor& own, const BucketSlot& slot,
                               const std::function<void(ParameterId, Tensor&)>& fill) {
  Tensor weight = own.rows(slot.offset, slot.offset + slot.numel)
                      .reshape(parameters_[static_cast<size_t>(slot.id)].shape);
  if (weight.dtype() == operations_.accumulation_dtype()) return fill(slot.id, weight);
  Tensor values = operations_.empty(weight.shape(), operations_.accumulation_dtype(), Category::workspace);
  fill(slot.id, values);
  operations_.convert(values, weight);
}

void BucketWeights::load_part(const Tensor& own, const OwnedRange& range,
                              const std::function<void(ParameterId, Tensor&)>& fill) {
  Tensor values = operations_.empty(parameters_[static_cast<size_t>(range.id)].shape,
                                    operations_.accumulation_dtype(), Category::workspace);
  fill(range.id, values);
  Tensor to = own.rows(range.at, range.at + range.numel);
  operations_.convert(values.reshape({values.numel()}).rows(range.begin, range.begin + range.numel), to);
}

void BucketWeights::await(Storage& storage) {
  std::exchange(storage.on_its_way, {}).wait();
}

Tensor BucketWeights::acquire(ParameterId id) {
  const int bucket = storage_of(plan_.bucket_of(id));
  Storage& from = storages_[static_cast<size_t>(bucket)];
  if (gathers() && !from.gathered.defined()) gather(bucket);
  await(from);
  const BucketSlot& slot = plan_.slot_of(id);
  return (gathers() ? from.gathered : from.own)
      .rows(slot.offset, slot.offset + slot.numel)
      .reshape(parameters_[static_cast<size_t>(id)].shape);
}

void BucketWeights::gather(int bucket) {
  Storage& to = storages_[static_cast<size_t>(bucket)];
  to.gathered =
      operations_.empty({plan_.buckets()[static_cast<size_t>(bucket)].numel}, Category::communication);
  to.on_its_way = queue_->submit(
      fmt::format("gather {}", bucket),
      [part = to.own, whole = to.gathered](ProcessGroup& group) mutable { group.all_gather(part, whole); },
      static_cast<int64_t>(to.gathered.bytes()));
}

std::vector<int> BucketWeights::storages_of_layer(int layer) const {
  std::vector<int> found;
  for (const int bucket : plan_.buckets_of_layer(layer)) found.push_back(storage_of(bucket));
  return found;
}

// Ranks of a data group run the same program, so all of them drop and gather the same in the same order.
void BucketWeights::prefetch(int layer, int next) {
  if (!gathers()) return;
  std::vector<int> wanted = storages_of_layer(layer);
  if (next >= 0)
    for (const int bucket : storages_of_layer(next)) wanted.push_back(bucket);
  for (size_t bucket = 0; bucket < storages_.size(); ++bucket)
    if (std::find(wanted.begin(), wanted.end(), static_cast<int>(bucket)) == wanted.end()) {
      await(storages_[bucket]);
      storages_[bucket].gathered = Tensor();
    }
  for (const int bucket : wanted)
    if (!storages_[static_cast<size_t>(bucket)].gathered.defined()) gather(bucket);
}

Tensor BucketWeights::part(int bucket) const {
  const Bucket& whole = plan_.buckets().at(static_cast<size_t>(bucket));
  const Tensor& own = storages_[static_cast<size_t>(storage_of(bucket))].own;
  if (gathers() || !whole.sharded()) return own;
  return own.rows(sharding_.rank * whole.part, (sharding_.rank + 1) * whole.part);
}

void BucketWeights::wait() {
  for (Storage& storage : storages_) {
    await(storage);
    storage.gathered = Tensor();
  }
}

void BucketWeights::wait(int bucket) {
  await(storage(bucket));
  storage(bucket).gathered = Tensor();
}

void BucketWeights::publish(int bucket) {
  if (sharding_.stage() != 1 && sharding_.stage() != 2) return;
  Storage& of = storage(bucket);
  await(of);
  of.on_its_way = queue_->submit(
      fmt::format("publish {}", bucket),
      [mine = part(bucket), whole = of.own](ProcessGroup& group) mutable { group.all_gather(mine, whole); },
      static_cast<int64_t>(of.own.bytes()));
}

}  // namespace collie
