#include "runtime/grid.hpp"

#include <numeric>

#include "base/error.hpp"

namespace collie {

GridPlace Grid::place_of(int rank) const {
  COLLIE_ASSERT(rank >= 0 && rank < ranks(), "rank {} of {}", rank, ranks());
  return {rank / (tensor * context * data), rank / (tensor * context) % data, rank / tensor % context,
          rank % tensor};
}

int Grid::rank_of(const GridPlace& place) const {
  return ((place.pipeline * data + place.data) * context + place.context) * tensor + place.tensor;
}

std::vector<int> Grid::all_ranks() const {
  std::vector<int> all(static_cast<size_t>(ranks()));
  std::iota(all.begin(), all.end(), 0);
  return all;
}

std::vector<int> Grid::pipeline_group(int rank) const {
  std::vector<int> group;
  GridPlace place = place_of(rank);
  for (place.pipeline = 0; place.pipeline < pipeline; ++place.pipeline) group.push_back(rank_of(place));
  return group;
}

std::vector<int> Grid::data_group(int rank) const {
  std::vector<int> group;
  GridPlace place = place_of(rank);
  for (place.data = 0; place.data < data; ++place.data)
    for (place.context = 0; place.context < context; ++place.context) group.push_back(rank_of(place));
  return group;
}

std::vector<int> Grid::context_group(int rank) const {
  std::vector<int> group;
  GridPlace place = place_of(rank);
  for (place.context = 0; place.context < context; ++place.context) group.push_back(rank_of(place));
  return group;
}

std::vector<int> Grid::tensor_group(int rank) const {
  std::vector<int> group;
  GridPlace place = place_of(rank);
  for (place.tensor = 0; place.tensor < tensor; ++place.tensor) group.push_back(rank_of(place));
  return group;
}

std::vector<int> Grid::key_value_group(int rank, int key_value_heads) const {
  const int sharing = tensor > key_value_heads ? tensor / key_value_heads : 1;
  std::vector<int> group;
  GridPlace place = place_of(rank);
  const int first = place.tensor / sharing * sharing;
  for (place.tensor = first; place.tensor < first + sharing; ++place.tensor) group.push_back(rank_of(place));
  return group;
}

}  // namespace collie
