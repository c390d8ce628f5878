// The tree of small groups in which all ranks synchronise a step. Neighbours form a group. The first ranks of
// neighbouring groups form a group of the next level, until one group is left. Neighbours are first the ranks
// of a data group, then those of a tensor group, then pipeline positions, so that related values are reduced
// early.
#pragma once

#include <vector>

#include "runtime/grid.hpp"

namespace collie {

class ReductionTree {
 public:
  // A group has at most `fan_in` ranks, at least 2.
  explicit ReductionTree(const Grid& grid, int fan_in = 16);

  int levels() const { return static_cast<int>(strides_.size()); }
  // Returns the rank's group at each level in which it has one; each group lists its first rank first. The
  // rank is alone in a group if no other rank is left.
  std::vector<std::vector<int>> groups_of(int rank) const;
  bool reaches_top(int rank) const { return static_cast<int>(groups_of(rank).size()) == levels(); }
  // Returns all ranks below a member of a group of `level`; at level 0 that is the rank itself.
  std::vector<int> ranks_below(int member, int level) const;

 private:
  int position_of(int rank) const;
  int rank_at(int position) const;

  Grid grid_;
  int fan_in_;
  std::vector<int> strides_;  // distance between neighbouring members of a level's groups
};

}  // namespace collie
