#include "actors/rank_groups.hpp"

#include <functional>

namespace collie {

std::vector<RankGroups> make_rank_groups(const Grid& grid, int key_value_heads) {
  std::vector<RankGroups> all(static_cast<size_t>(grid.ranks()));
  // One group for each set of ranks; the set's first rank makes the ends of all.
  const auto connect = [&](const std::function<std::vector<int>(int)>& ranks_with,
                           std::shared_ptr<MeteredGroup> RankGroups::*member) {
    for (int rank = 0; rank < grid.ranks(); ++rank) {
      const std::vector<int> ranks = ranks_with(rank);
      if (ranks.size() == 1 || ranks.front() != rank) continue;
      const auto ends = make_in_process_group(static_cast<int>(ranks.size()));
      for (size_t i = 0; i < ranks.size(); ++i)
        all[static_cast<size_t>(ranks[i])].*member = std::make_shared<MeteredGroup>(ends[i]);
    }
  };
  connect([&](int rank) { return grid.tensor_group(rank); }, &RankGroups::tensor);
  connect([&](int rank) { return grid.context_group(rank); }, &RankGroups::context);
  connect([&](int rank) { return grid.key_value_group(rank, key_value_heads); }, &RankGroups::key_value);
  connect([&](int rank) { return grid.data_group(rank); }, &RankGroups::data);
  return all;
}

}  // namespace collie
