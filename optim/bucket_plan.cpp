#include "optim/bucket_plan.hpp"

#include <algorithm>

#include "base/divide.hpp"
#include "kernels/operations.hpp"

namespace collie {
BucketPlan::BucketPlan(const std::vector<Parameter>& parameters, const StageRange& range,
                       const DataSharding& sharding)
    : places_(parameters.size()) {
  COLLIE_ASSERT(sharding.rank >= 0 && sharding.rank < sharding.size, "rank {} of a data group of {}",
                sharding.rank, sharding.size);
  const bool sharded = sharding.stage() > 0;
  const int64_t alignment = sharded ? reduction_block : 1;
  const int last_layer = parameters.empty() ? 0 : parameters.back().layer;
  const auto alone = [&](const Parameter& parameter) {
    return (range.embedding && parameter.layer == 0) || (range.head && parameter.layer == last_layer);
  };
  const auto joins = [&](const Parameter& parameter, const Parameter& before) {
    if (alone(parameter) || alone(before)) return false;
    if (parameter.layer == before.layer) return true;
    return sharding.stage() < 3 && buckets_.back().numel < sharding.bucket_elements;
  };
  for (size_t id = 0; id < parameters.size(); ++id) {
    const Parameter& parameter = parameters[id];
    if (id == 0 || !joins(parameter, parameters[id - 1])) {
      buckets_.emplace_back();
      buckets_.back().first_layer = parameter.layer;
    }
    Bucket& bucket = buckets_.back();
    const int64_t numel = parameter.shape.numel(), room = round_up(bucket.numel, alignment) - bucket.numel;
    if (numel > room) bucket.numel += room;
    places_[id] = {static_cast<int>(buckets_.size()) - 1, static_cast<int>(bucket.slots.size())};
    bucket.slots.push_back({static_cast<ParameterId>(id), bucket.numel, numel});
    bucket.numel += numel;
    bucket.last_layer = parameter.layer;
  }
  for (Bucket& bucket : buckets_) {
    bucket.part = sharded ? round_up(bucket.numel, alignment * sharding.size) / sharding.size : bucket.numel;
    if (sharded) bucket.numel = bucket.part * sharding.size;
  }
}

const BucketSlot& BucketPlan::slot_of(ParameterId id) const {
  const Place& place = places_.at(static_cast<size_t>(id));
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
  const int64_t first = whole.part == whole.numel ? 0 : rank * whole.part, last = first + whole.part;
  std::vector<OwnedRange> ranges;
  for (const BucketSlot& slot : whole.slots) {
    const int64_t begin = std::max(first, slot.offset), end = std::min(last, slot.offset + slot.numel);
    if (begin < end) ranges.push_back({slot.id, begin - slot.offset, end - begin, begin - first});
  }
  return ranges;
}

std::vector<Rectangle> rectangles_of_range(const Shape& shape, int64_t begin, int64_t end) {
  std::vector<Rectangle> rectangles;
  if (begin >= end) return rectangles;
  if (shape.rank() <= 1) return {{{begin}, {end - begin}}};
  std::vector<int64_t> inner_dims;
  for (int axis = 1; axis < shape.rank(); ++axis) inner_dims.push_back(shape[axis]);
  const Shape inner = Shape::from(inner_dims);
  const int64_t row = inner.numel();
  // The elements [from, to) of row `index`, as rectangles of the whole.
  const auto add_part_of_row = [&](int64_t index, int64_t from, int64_t to) {
    for (const Rectangle& part : rectangles_of_range(inner, from, to)) {
      std::vector<int64_t> offsets{index}, dims{1};
      for (int axis = 0; axis < inner.rank(); ++axis) {
        offsets.push_back(part.offsets[static_cast<size_t>(axis)]);
        dims.push_back(part.shape[axis]);
      }
      rectangles.push_back({offsets, Shape::from(dims)});
    }
  };
  const int64_t first_whole = (begin + row - 1) / row, last_whole = end / row;
  if (first_whole > last_whole) {
    add_part_of_row(begin / row, begin % row, end - begin / row * row);
    return rectangles;
  }
  if (begin % row != 0) add_part_of_row(begin / row, begin % row, row);
  if (first_whole < last_whole) {
    std::vector<int64_t> offsets(static_cast<size_t>(shape.rank()), 0), dims{last_whole - first_whole};
    offsets[0] = first_whole;
    dims.insert(dims.end(), inner_dims.begin(), inner_dims.end());
    rectangles.push_back({offsets, Shape::from(dims)});
  }
  if (end % row != 0) add_part_of_row(last_whole, 0, end % row);
  return rectangles;
}

}  // namespace collie
