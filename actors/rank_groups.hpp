// A rank's ends of the groups it communicates in, whatever carries them.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "actors/grid.hpp"
#include "comm/collective_queue.hpp"
#include "comm/metered_group.hpp"

namespace collie {

// Of a rank's reductions and gathers in the background: each holds a bucket.
inline constexpr int max_collectives_in_flight = 4;

// Null where the rank would be alone.
struct RankGroups {
  std::shared_ptr<MeteredGroup> tensor;         // holds the other parts of the same matrices
  std::shared_ptr<MeteredGroup> context;        // holds the other tokens of the same sequences
  std::shared_ptr<MeteredGroup> key_value;      // of the tensor group, holds the same key/value heads
  std::shared_ptr<MeteredGroup> data;           // computes other sequences or tokens with the same weights
  std::shared_ptr<CollectiveQueue> data_queue;  // of `data`, driven by the rank's reducer

  void abort(const std::string& cause) const {
    for (const auto& group : {tensor, context, key_value, data})
      if (group) group->abort(cause);
    if (data_queue) data_queue->abort(cause);
  }
};

// The groups of all ranks of a grid that is in this process, without queues. [ranks]
std::vector<RankGroups> make_rank_groups(const Grid& grid, int key_value_heads);

}  // namespace collie
