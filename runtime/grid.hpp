// The position of a rank: pipeline × data × context × tensor. The last dimension varies fastest, so that the
// ranks that communicate most are neighbours.
#pragma once

#include <vector>

namespace collie {

struct GridPlace {
  int pipeline = 0, data = 0, context = 0, tensor = 0;
  bool operator==(const GridPlace&) const = default;
};

struct Grid {
  int pipeline = 1, data = 1, context = 1, tensor = 1;  // sizes

  int ranks() const { return pipeline * data * context * tensor; }
  GridPlace place_of(int rank) const;
  int rank_of(const GridPlace& place) const;

  // Gradients are reduced, and ZeRO shards are cut, over all ranks that see other tokens with the same
  // weights. These are the replicas and, within a replica, the context ranks.
  int data_ranks() const { return data * context; }
  int data_rank(const GridPlace& place) const { return place.data * context + place.context; }

  std::vector<int> all_ranks() const;
  // The ranks of `rank`'s groups, ascending. A rank's index in its group is its coordinate in that dimension.
  std::vector<int> pipeline_group(int rank) const;
  std::vector<int> data_group(int rank) const;  // data × context
  std::vector<int> context_group(int rank) const;
  std::vector<int> tensor_group(int rank) const;
  // The ranks of the tensor group with the same key/value heads.
  std::vector<int> key_value_group(int rank, int key_value_heads) const;
};

}  // namespace collie
