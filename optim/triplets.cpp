// ShardedState's part in keeping some of the triplets of adapters and losing the others (AdaLoRA: Zhang et
// al., arXiv 2303.10512).
#include <utility>

#include "models/adapters.hpp"
#include "optim/sharded_state.hpp"

namespace collie {
namespace {

// Where the states stand, in the order of ShardedState::triplet_states(). A has no mask, nor has B.
enum TripletState : size_t { importance, uncertainty, mask };

}  // namespace

std::vector<StateDeclaration> ShardedState::triplet_states(const Owned& owned) const {
  const Parameter& of = parameter(owned.range.id);
  if (of.triplet == TripletPart::none || !of.trainable) return {};
  std::vector<StateDeclaration> states(2);
  states[TripletState::importance].name = "importance";
  states[TripletState::uncertainty].name = "uncertainty";
  if (of.triplet == TripletPart::e) {
    states.emplace_back().name = rank_mask_state;
    states[TripletState::mask].initial = 1;
  }
  return states;
}

void ShardedState::add_importance(const ImportanceDecay& decay, const Tensor& factor) {
  std::vector<UpdateTensors> ranges;
  for (Owned& owned : owned_) {
    if (owned.triplet_states.empty()) continue;
    const ParameterRange range = range_of(owned);
    ranges.push_back(
        {range.weight,
         range.gradient,
         {owned.triplet_states[TripletState::importance], owned.triplet_states[TripletState::uncertainty]},
         {},
         0});
  }
  if (!ranges.empty()) operations_.update(ranges, importance_update(decay, factor));
}

std::vector<ShardedState::ScoreRoots> ShardedState::score_roots() const {
  std::vector<ScoreRoots> all;
  std::vector<UpdateTensors> ranges;
  for (const Owned& owned : owned_) {
    const Parameter& of = parameter(owned.range.id);
    const Bucket& bucket = plan_.buckets()[static_cast<size_t>(owned.bucket)];
    // Where the data group cuts nothing, each of its ranks has all and adds up for itself.
    const int64_t row = owned.range.begin / (of.shape.numel() / of.shape[0]);
    const bool stands =
        of.stands_for_row(row) && (!matrix_groups_.data_cut || bucket.sharded() || sharding_.rank == 0);
    if (owned.triplet_states.empty() || !stands) continue;
    const Tensor roots =
        operations_.empty({owned.range.numel}, operations_.accumulation_dtype(), Category::workspace);
    ranges.push_back({roots,
                      owned.triplet_states[TripletState::importance],
                      {owned.triplet_states[TripletState::uncertainty]},
                      {},
                      0});
    const int64_t begin = owned.range.begin;
    for_each_rectangle(of, begin, begin + owned.range.numel, [&](const TensorRectangle& rectangle) {
      const MatrixPart place = part_of(rectangle);
      const int64_t first = rectangle.begin - begin;
      all.push_back({of.triplet, rectangle.piece.tensor, rectangle.piece.tensor_shape, place,
                     roots.rows(first, first + place.shape.numel()).reshape(place.shape)});
    });
  }
  if (!ranges.empty()) operations_.update(ranges, importance_roots());
  return all;
}

void ShardedState::set_kept(const std::function<bool(const std::string& tensor, int64_t k)>& kept) {
  for (Owned& owned : owned_) {
    if (owned.triplet_states.size() <= TripletState::mask) continue;
    std::vector<float> values;
    for (int64_t k = owned.range.begin; k < owned.range.begin + owned.range.numel; ++k)
      values.push_back(kept(owned.tensor.name, k) ? 1.0F : 0.0F);
    operations_.upload(values, owned.triplet_states[TripletState::mask]);
  }
}

void ShardedState::drop_others() {
  std::vector<UpdateTensors> ranges;
  for (Owned& owned : owned_) {
    if (owned.triplet_states.size() <= TripletState::mask) continue;
    ParameterRange range = range_of(owned);
    ranges.push_back(
        {range.weight, owned.triplet_states[TripletState::mask], {}, std::move(range.rounded), 0});
  }
  if (!ranges.empty()) operations_.update(ranges, mask_update());
}

}  // namespace collie
