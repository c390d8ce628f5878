#include "optim/gradient_norm.hpp"

#include <algorithm>
#include <limits>
#include <map>
#include <tuple>

namespace collie {
namespace {

// Adds a run to the sum that is being written.
void add_run(OrderedRuns& runs, int64_t first, int64_t count) {
  COLLIE_ASSERT(first + count <= std::numeric_limits<int32_t>::max(), "{} values of norms", first + count);
  runs.firsts.push_back(static_cast<int32_t>(first));
  runs.counts.push_back(static_cast<int32_t>(count));
}
void begin_sum(OrderedRuns& runs) {
  runs.starts.push_back(static_cast<int32_t>(runs.firsts.size()));
}

Tensor sums_of(Operations& operations, const Tensor& values, const OrderedRuns& runs) {
  Tensor sums =
      operations.empty({static_cast<int64_t>(runs.starts.size()) - 1}, DType::f64, Category::workspace);
  operations.ordered_sums(values, runs, sums);
  return sums;
}

}  // namespace

bool speaks_for(const Parameter& parameter, const DataSharding& sharding) {
  return parameter.first_holder && (sharding.stage() > 0 || sharding.rank == 0);
}

std::vector<NormShare> norm_shares(const std::vector<Parameter>& parameters, const BucketPlan& plan,
                                   const DataSharding& sharding) {
  std::vector<NormShare> shares;
  for (int bucket = 0; bucket < static_cast<int>(plan.buckets().size()); ++bucket)
    for (const OwnedRange& range : plan.owned(bucket, sharding.rank)) {
      const Parameter& parameter = parameters[static_cast<size_t>(range.id)];
      if (parameter.tied_copy || !speaks_for(parameter, sharding)) continue;
      const int64_t blocks = (range.numel + reduction_block - 1) / reduction_block;
      shares.push_back({range, bucket, range.begin / reduction_block, sharding.stage() == 0 ? 1 : blocks});
    }
  return shares;
}

OrderedRuns consecutive_runs(const std::vector<int64_t>& counts) {
  OrderedRuns runs;
  int64_t at = 0;
  for (const int64_t count : counts) {
    begin_sum(runs);
    add_run(runs, at, count);
    at += count;
  }
  begin_sum(runs);
  return runs;
}

NormOrder norm_order(const std::vector<std::vector<NormPart>>& parts, int parameters) {
  NormOrder order;
  for (const auto& of_rank : parts) {
    int64_t width = 1;
    for (const NormPart& part : of_rank) width += part.values;
    order.width = std::max(order.width, width);
  }

  using Key = std::tuple<int, int, int64_t>;         // parameter, piece, first block
  std::map<Key, std::pair<int64_t, int64_t>> found;  // where in the gathered values, how many
  begin_sum(order.losses);
  for (size_t rank = 0; rank < parts.size(); ++rank) {
    int64_t at = static_cast<int64_t>(rank) * order.width;
    add_run(order.losses, at++, 1);
    for (const NormPart& part : parts[rank]) {
      const bool fresh =
          found.try_emplace({part.parameter, part.piece, part.first_block}, at, part.values).second;
      COLLIE_ASSERT(fresh, "two ranks contribute the norm of parameter {}, piece {}, from block {}",
                    part.parameter, part.piece, part.first_block);
      at += part.values;
    }
  }
  begin_sum(order.losses);

  int64_t pieces = 0;
  auto at = found.begin();
  for (int parameter = 0; parameter < parameters; ++parameter) {
    COLLIE_ASSERT(at != found.end() && std::get<0>(at->first) == parameter,
                  "no rank contributes the norm of parameter {}", parameter);
    begin_sum(order.parameters);
    for (; at != found.end() && std::get<0>(at->first) == parameter; ++pieces) {
      begin_sum(order.pieces);
      const int piece = std::get<1>(at->first);
      for (; at != found.end() && std::get<0>(at->first) == parameter && std::get<1>(at->first) == piece;
           ++at)
        add_run(order.pieces, at->second.first, at->second.second);
      add_run(order.parameters, pieces, 1);
    }
  }
  COLLIE_ASSERT(at == found.end(), "a norm of parameter {}, of {}", std::get<0>(at->first), parameters);
  begin_sum(order.pieces);
  begin_sum(order.parameters);
  order.total = consecutive_runs({parameters});
  return order;
}

Tensor agree_on_step(Operations& operations, const NormOrder& order, const Tensor& own, ProcessGroup* all,
                     double max_norm) {
  Tensor gathered = own;
  if (all != nullptr) {
    gathered = operations.empty({all->size() * order.width}, DType::f64, Category::communication);
    all->all_gather(own, gathered);
  }
  const Tensor loss_sum = sums_of(operations, gathered, order.losses);
  const Tensor parameters =
      sums_of(operations, sums_of(operations, gathered, order.pieces), order.parameters);
  Tensor outcome = operations.empty({3}, DType::f64, Category::workspace);
  operations.step_outcome(loss_sum, sums_of(operations, parameters, order.total), max_norm, outcome);
  return outcome;
}

}  // namespace collie
