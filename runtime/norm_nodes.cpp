#include "runtime/norm_nodes.hpp"

#include <algorithm>

namespace collie {

NormNodes::NormNodes(const ModelWorkerSettings& settings)
    : settings_(settings), canonical_(canonical_order(settings.model)) {}

const NormNodes::HeldStage& NormNodes::held_by(int stage, int tensor) {
  const auto found = held_.find({stage, tensor});
  if (found != held_.end()) return found->second;
  const StageRange& range = settings_.ranges[static_cast<size_t>(stage)];
  const ModelShard shard{tensor, settings_.grid.tensor, settings_.sequence_parallel};
  std::vector<Parameter> parameters = stage_parameters(settings_.model, range, shard);
  std::vector<int> canonical;
  for (const Parameter& parameter : parameters)
    canonical.push_back(parameter.trainable ? canonical_.at(parameter.name) : -1);
  BucketPlan plan(parameters, range, sharding_of(settings_, {}));
  return held_
      .emplace(std::pair(stage, tensor),
               HeldStage{std::move(parameters), std::move(plan), std::move(canonical)})
      .first->second;
}

std::vector<NormNode> NormNodes::of_rank(int rank) {
  const Grid& grid = settings_.grid;
  const GridPlace place = grid.place_of(rank);
  std::vector<NormNode> nodes;
  for (size_t stage = 0; stage < settings_.ranges.size(); ++stage)
    if (settings_.rank_of_stage[stage] == place.pipeline && settings_.ranges[stage].head && place.tensor == 0)
      nodes.push_back({-1, 0, {grid.data_rank(place), 1, grid.data_ranks()}});
  for (size_t stage = 0; stage < settings_.ranges.size(); ++stage) {
    if (settings_.rank_of_stage[stage] != place.pipeline) continue;
    const HeldStage& held = held_by(static_cast<int>(stage), place.tensor);
    for (const NormShare& share : norm_shares(held.parameters, held.plan, sharding_of(settings_, place)))
      for (const BlockNode& node : share.nodes)
        nodes.push_back({held.canonical[static_cast<size_t>(share.range.id)], place.tensor, node});
  }
  return nodes;
}

// The nodes are combined in steps, because even one step's nodes are far more than the combined result.
std::vector<NormNode> NormNodes::of_all(const std::vector<int>& ranks) {
  constexpr size_t step = 16;
  std::vector<NormNode> nodes;
  for (size_t first = 0; first < ranks.size(); first += step) {
    std::vector<std::vector<NormNode>> members{std::move(nodes)};
    for (size_t i = first; i < std::min(first + step, ranks.size()); ++i)
      members.push_back(of_rank(ranks[i]));
    nodes = merged(members);
  }
  return nodes;
}

NormOrder NormNodes::order_of(int rank, const ReductionTree& tree) {
  std::vector<std::vector<std::vector<NormNode>>> nodes_of;
  const auto groups = tree.groups_of(rank);
  for (size_t level = 0; level < groups.size(); ++level) {
    auto& members = nodes_of.emplace_back();
    for (const int member : groups[level])
      members.push_back(level == 0 ? of_rank(member)
                                   : of_all(tree.ranks_below(member, static_cast<int>(level))));
  }
  return norm_order(nodes_of, tree.reaches_top(rank), static_cast<int>(canonical_.size()));
}

std::unordered_map<std::string, int> canonical_order(const ModelSpec& model) {
  std::unordered_map<std::string, int> order;
  for (const Parameter& parameter : model_parameters(model))
    if (parameter.trainable) order.emplace(parameter.name, static_cast<int>(order.size()));
  return order;
}

}  // namespace collie
