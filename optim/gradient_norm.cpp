#include "optim/gradient_norm.hpp"

#include <algorithm>
#include <limits>

#include "base/divide.hpp"

namespace collie {
namespace {

int64_t blocks_of(int64_t elements) {
  return divide_up(elements, reduction_block);
}

template <class Runs>
int64_t sums_in(const Runs& runs) {
  return static_cast<int64_t>(runs.starts.size()) - 1;
}

Tensor doubles(Operations& operations, int64_t count, Category category = Category::workspace) {
  return operations.empty({count}, DType::f64, category);
}

Tensor sums_of(Operations& operations, const Tensor& values, const OrderedRuns& runs) {
  Tensor sums = doubles(operations, sums_in(runs));
  operations.ordered_sums(values, runs, sums);
  return sums;
}

// At the top every tree is whole: the loss, then the pieces of each parameter.
void add_top(const std::vector<NormNode>& nodes, int parameters, NormOrder& order) {
  COLLIE_ASSERT(!nodes.empty() && nodes.front().parameter == -1, "no rank contributes the loss");
  for (const NormNode& at : nodes)
    COLLIE_ASSERT(at.node.first == 0 && at.node.blocks == at.node.total,
                  "parameter {}, piece {}: blocks {} to {} of {} are all that is contributed", at.parameter,
                  at.piece, at.node.first, at.node.first + at.node.blocks, at.node.total);
  size_t at = 1;
  for (int parameter = 0; parameter < parameters; ++parameter) {
    const size_t first = at;
    while (at < nodes.size() && nodes[at].parameter == parameter) ++at;
    COLLIE_ASSERT(at > first, "no rank contributes the norm of parameter {}", parameter);
    order.parameters.starts.push_back(static_cast<int32_t>(order.parameters.firsts.size()));
    order.parameters.firsts.push_back(static_cast<int32_t>(first));
    order.parameters.counts.push_back(static_cast<int32_t>(at - first));
  }
  COLLIE_ASSERT(at == nodes.size(), "a norm of parameter {}, of {}", nodes[at].parameter, parameters);
  order.parameters.starts.push_back(static_cast<int32_t>(order.parameters.firsts.size()));
  order.total = sum_of_first(parameters);
}

Tensor outcome_of(Operations& operations, const NormOrder& order, const Tensor& values,
                  const StepBounds& bounds, Tensor* of_parameters) {
  Tensor outcome = doubles(operations, 3);
  const Tensor parameters = sums_of(operations, values, order.parameters);
  operations.step_outcome(values.rows(0, 1), sums_of(operations, parameters, order.total), bounds, outcome);
  if (of_parameters != nullptr) *of_parameters = parameters;
  return outcome;
}

}  // namespace

bool is_primary(const Parameter& parameter, const Bucket& bucket, const DataSharding& sharding) {
  return parameter.primary_numel() > 0 && (bucket.sharded() || sharding.rank == 0);
}

std::vector<NormShare> norm_shares(const std::vector<Parameter>& parameters, const BucketPlan& plan,
                                   const DataSharding& sharding) {
  std::vector<NormShare> shares;
  for (int bucket = 0; bucket < static_cast<int>(plan.buckets().size()); ++bucket)
    for (const OwnedRange& range : plan.owned(bucket, sharding.rank)) {
      const Parameter& parameter = parameters[static_cast<size_t>(range.id)];
      if (!parameter.trainable || parameter.tied_copy) continue;
      if (!is_primary(parameter, plan.buckets()[static_cast<size_t>(bucket)], sharding)) continue;
      const int64_t counted = parameter.primary_numel(), first = range.begin / reduction_block;
      OwnedRange part = range;
      part.numel = std::min(range.numel, counted - range.begin);
      if (part.numel <= 0) continue;
      shares.push_back({part, bucket, tree_nodes(first, first + blocks_of(part.numel), blocks_of(counted))});
    }
  return shares;
}

TreeRuns sums_of_shares(const std::vector<NormShare>& shares) {
  TreeRuns runs;
  int64_t at = 0;
  for (const NormShare& share : shares)
    for (const BlockNode& node : share.nodes) {
      runs.starts.push_back(static_cast<int32_t>(runs.firsts.size()));
      runs.firsts.push_back(static_cast<int32_t>(at));
      runs.counts.push_back(static_cast<int32_t>(node.blocks));
      runs.heights.push_back(0);  // alone in its sum
      at += node.blocks;
      COLLIE_ASSERT(at <= std::numeric_limits<int32_t>::max(), "{} blocks of gradients", at);
    }
  runs.starts.push_back(static_cast<int32_t>(runs.firsts.size()));
  return runs;
}

Tensor one_double(Operations& operations, double value) {
  Tensor x = doubles(operations, 1);
  operations.fill(x, value);
  return x;
}

OrderedRuns sum_of_first(int64_t count, int64_t first) {
  return {{0, 1}, {static_cast<int32_t>(first)}, {static_cast<int32_t>(count)}};
}

NormOrder norm_order(const std::vector<std::vector<std::vector<NormNode>>>& nodes_of, bool top,
                     int parameters) {
  NormOrder order;
  order.top = top;
  std::vector<NormNode> nodes;
  for (const auto& members : nodes_of) {
    NormLevel& level = order.levels.emplace_back();
    for (const auto& of_member : members)
      level.width = std::max(level.width, static_cast<int64_t>(of_member.size()));
    CombinedNodes combined = combine(members, level.width);
    level.sums = std::move(combined.sums);
    nodes = std::move(combined.nodes);
  }
  if (top) add_top(nodes, parameters, order);
  return order;
}

Tensor reduce_step_outcome(Operations& operations, const NormOrder& order, const Tensor& own,
                           const std::vector<ProcessGroup*>& groups, const StepBounds& bounds,
                           Tensor* parameters) {
  COLLIE_ASSERT(groups.size() == order.levels.size(), "{} groups for {} levels", groups.size(),
                order.levels.size());
  Tensor values = own, outcome;
  for (size_t i = 0; i < groups.size(); ++i) {
    const NormLevel& level = order.levels[i];
    if (groups[i] != nullptr) {
      Tensor gathered = doubles(operations, groups[i]->size() * level.width, Category::communication);
      groups[i]->all_gather(values, gathered);
      values = std::move(gathered);
    }
    const bool last = i + 1 == groups.size();
    if (last && !order.top) break;  // its first rank goes on
    // Zeros behind the values, up to what the next level's members have at most.
    const int64_t count = sums_in(level.sums);
    Tensor sums = doubles(operations, last ? count : order.levels[i + 1].width);
    if (count < sums.numel()) operations.fill(sums, 0);
    Tensor front = sums.rows(0, count);
    operations.tree_sums(values, level.sums, front);
    values = std::move(sums);
  }
  outcome = order.top ? outcome_of(operations, order, values, bounds, parameters) : doubles(operations, 3);
  for (size_t i = groups.size() - (order.top ? 1 : 0); i-- > 0;)
    if (groups[i] != nullptr) groups[i]->broadcast(outcome, 0);
  return outcome;
}

}  // namespace collie
