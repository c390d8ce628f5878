#include "runtime/reduction_tree.hpp"

#include <algorithm>

#include "base/error.hpp"

namespace collie {

ReductionTree::ReductionTree(const Grid& grid, int fan_in) : grid_(grid), fan_in_(fan_in) {
  COLLIE_ASSERT(fan_in >= 2, "groups of {} ranks", fan_in);
  strides_.push_back(1);
  while (grid.ranks() / fan_in >= strides_.back() && strides_.back() * fan_in < grid.ranks())
    strides_.push_back(strides_.back() * fan_in);
}

// The index of (pipeline, tensor, data), with the last varying fastest.
int ReductionTree::position_of(int rank) const {
  const GridPlace place = grid_.place_of(rank);
  return (place.pipeline * grid_.tensor + place.tensor) * grid_.data_ranks() + grid_.data_rank(place);
}

int ReductionTree::rank_at(int position) const {
  const int data = position % grid_.data_ranks(), rest = position / grid_.data_ranks();
  return grid_.rank_of(
      {rest / grid_.tensor, data / grid_.context, data % grid_.context, rest % grid_.tensor});
}

std::vector<std::vector<int>> ReductionTree::groups_of(int rank) const {
  const int position = position_of(rank);
  std::vector<std::vector<int>> groups;
  for (const int stride : strides_) {
    if (position % stride != 0) break;
    const int first = position / stride / fan_in_ * fan_in_;
    std::vector<int>& group = groups.emplace_back();
    for (int member = first; member < first + fan_in_ && member <= (grid_.ranks() - 1) / stride; ++member)
      group.push_back(rank_at(member * stride));
  }
  return groups;
}

std::vector<int> ReductionTree::ranks_below(int member, int level) const {
  const int first = position_of(member), stride = strides_.at(static_cast<size_t>(level));
  std::vector<int> ranks;
  for (int position = first; position - first < stride && position < grid_.ranks(); ++position)
    ranks.push_back(rank_at(position));
  return ranks;
}

}  // namespace collie
