#include "optim/bucket_plan.hpp"

#include <algorithm>
#include <array>

#include "base/divide.hpp"
#include "kernels/operations.hpp"
#include "models/pieces.hpp"

namespace collie {
BucketPlan::BucketPlan(const std::vector<Parameter>& parameters, const StageRange& range,
                       const DataSharding& sharding)
    : places_(parameters.size()) {
  COLLIE_ASSERT(sharding.rank >= 0 && sharding.rank < sharding.size, "rank {} of a data group of {}",
                sharding.rank, sharding.size);
  const int last_layer = parameters.empty() ? 0 : parameters.back().layer;
  const auto sharded = [&](bool trainable) { return sharding.stage() > (trainable ? 0 : 2); };
  const auto alignment = [&](bool trainable) { return sharded(trainable) ? reduction_block : 1; };
  const auto alone = [&](const Parameter& parameter) {
    return (range.embedding && parameter.layer == 0) || (range.head && parameter.layer == last_layer);
  };
  const auto joins = [&](const Parameter& parameter, const Bucket& bucket) {
    if (alone(parameter) || alone(parameters[static_cast<size_t>(bucket.slots.back().id)])) return false;
    if (parameter.layer == bucket.last_layer) return true;
    return sharding.stage() < 3 && bucket.numel < sharding.bucket_elements;
  };
  std::array<int, 2> joinable = {-1, -1};  // the bucket that the next frozen, or trained, parameter may join
  for (size_t id = 0; id < parameters.size(); ++id) {
    const Parameter& parameter = parameters[id];
    if (parameter.quantisation.is_there()) {
      places_[id] = {-1, -1};
      continue;
    }
    int& at = joinable[parameter.trainable ? 1 : 0];
    if (at < 0 || !joins(parameter, buckets_[static_cast<size_t>(at)])) {
      at = static_cast<int>(buckets_.size());
      buckets_.emplace_back();
      buckets_.back().first_layer = parameter.layer;
      buckets_.back().trainable = parameter.trainable;
    }
    Bucket& bucket = buckets_[static_cast<size_t>(at)];
    const int64_t numel = parameter.shape.numel();
    const int64_t room = round_up(bucket.numel, alignment(parameter.trainable)) - bucket.numel;
    if (numel > room) bucket.numel += room;
    places_[id] = {at, static_cast<int>(bucket.slots.size())};
    bucket.slots.push_back({static_cast<ParameterId>(id), bucket.numel, numel});
    bucket.numel += numel;
    bucket.last_layer = parameter.layer;
  }
  for (Bucket& bucket : buckets_) {
    bucket.part = bucket.numel;
    if (!sharded(bucket.trainable)) continue;
    bucket.part = round_up(bucket.numel, reduction_block * sharding.size) / sharding.size;
    bucket.numel = bucket.part * sharding.size;
  }
}

const BucketSlot& BucketPlan::slot_of(ParameterId id) const {
  const Place& place = places_.at(static_cast<size_t>(id));
  COLLIE_ASSERT(place.bucket >= 0, "parameter {} is in no bucket", id);
  return buckets_[static_cast<size_t>(place.bucket)].slots[static_cast<size_t>(place.slot)];
}

std::vector<int> BucketPlan::buckets_of_layer(int layer) const {
  std::vector<int> found;
  for (size_t bucket = 0; bucket < buckets_.size(); ++bucket)
    if (buckets_[bucket].first_layer <= layer && layer <= buckets_[bucket].last_layer)
      found.push_back(static_cast<int>(bucket));
  return found;
}

std::vector<OwnedRange> BucketPlan::owned(int bucket, int rank) const {
  const Bucket& whole = buckets_.at(static_cast<size_t>(bucket));
  const int64_t first = whole.sharded() ? rank * whole.part : 0, last = first + whole.part;
  std::vector<OwnedRange> ranges;
  for (const BucketSlot& slot : whole.slots) {
    const int64_t begin = std::max(first, slot.offset), end = std::min(last, slot.offset + slot.numel);
    if (begin < end) ranges.push_back({slot.id, begin - slot.offset, end - begin, begin - first});
  }
  return ranges;
}

std::vector<OwnedRange> owned_pieces(const BucketPlan& plan, const std::vector<Parameter>& parameters,
                                     int bucket, int rank) {
  std::vector<OwnedRange> ranges;
  for (const OwnedRange& range : plan.owned(bucket, rank)) {
    const Parameter& of = parameters.at(static_cast<size_t>(range.id));
    if (of.tied_copy) continue;
    const std::vector<int64_t> bounds = piece_bounds(of, range.begin, range.begin + range.numel);
    for (size_t i = 0; i + 1 < bounds.size(); ++i)
      ranges.push_back({range.id, bounds[i], bounds[i + 1] - bounds[i], range.at + bounds[i] - range.begin});
  }
  return ranges;
}

}  // namespace collie
