// The tree of small groups on which all ranks agree on a step: neighbours form a group, the first ranks of
// neighbouring groups form one of the next level, until one group is left. Neighbours are the ranks of a data
// group, then those of a tensor group, then pipeline positions, so that what belongs together is put together
// early.
#pragma once

#include <vector>

#include "runtime/grid.hpp"

namespace collie {

class ReductionTree {
 public:
  // At most `fan_in` ranks a group, at least 2.
  explicit ReductionTree(const Grid& grid, int fan_in = 16);

  int levels() const { return static_cast<int>(strides_.size()); }
  // The rank's group at each level in which it is in one, first ranks first; alone where nobody else is left.
  std::vector<std::vector<int>> groups_of(int rank) const;
  bool reaches_top(int rank) const { return static_cast<int>(groups_of(rank).size()) == levels(); }
  // All ranks below a member of a group of `level`: the rank itself at level 0.
  std::vector<int> ranks_below(int member, int level) const;

 private:
  int position_of(int rank) const;
  int rank_at(int position) const;

  Grid grid_;
  int fan_in_;
  std::vector<int> strides_;  // how far apart members of a level's groups stand
};

}  // namespace collie
