#include <algorithm>
#include <numeric>
#include <tuple>

#include "models/families/family.hpp"
#include "models/parameter_list.hpp"
#include "models/stage_range.hpp"

namespace collie {
namespace {

int64_t count(const std::vector<Parameter>& list) {
  int64_t sum = 0;
  for (const Parameter& parameter : list) sum += parameter.shape.numel();
  return sum;
}

// A tied head counts: it has the matrix's work, and away from the embedding its memory too.
PartCosts parameters_of_parts(const ModelConfig& config) {
  PartCosts costs;
  std::vector<Parameter> list;
  add_embedding(config, list);
  costs.embedding = count(list);
  list.clear();
  add_block(config, 0, list);
  costs.block = count(list);
  list.clear();
  add_final_norm(config, list);
  add_head(config, list);
  costs.head = count(list);
  return costs;
}

void check_stages(const ModelConfig& config, int64_t stages) {
  if (stages < 1) throw UserError("parallel.pp_size: {} stages; at least 1 is needed", stages);
  if (stages > config.num_hidden_layers)
    throw UserError("parallel.pp_size: {} stages for a model of {} blocks ({}); at most one stage a block",
                    stages, config.num_hidden_layers, family_of(config).keys.blocks);
}

}  // namespace

std::vector<StageRange> partition_stages(const ModelConfig& config,
                                         const std::vector<int>& blocks_per_stage) {
  check_stages(config, static_cast<int64_t>(blocks_per_stage.size()));
  for (const int blocks : blocks_per_stage)
    if (blocks < 1)
      throw UserError("parallel.partition: a stage of {} blocks; every stage needs at least 1", blocks);
  const int64_t sum = std::accumulate(blocks_per_stage.begin(), blocks_per_stage.end(), int64_t{0});
  if (sum != config.num_hidden_layers)
    throw UserError("parallel.partition: the stages have {} blocks together, the model has {} ({})", sum,
                    config.num_hidden_layers, family_of(config).keys.blocks);
  std::vector<StageRange> ranges;
  int64_t first = 0;
  for (const int blocks : blocks_per_stage) {
    ranges.push_back({first, first + blocks, first == 0, first + blocks == sum});
    first += blocks;
  }
  return ranges;
}

// Blocks are alike, so one after another goes where it makes the smallest sum: no cut has a smaller largest
// one, and none with the same largest one is more even.
std::vector<StageRange> partition_stages(const ModelConfig& config, const PartCosts& costs,
                                         const std::vector<int>& rank_of_stage) {
  const size_t stages = rank_of_stage.size();
  check_stages(config, static_cast<int64_t>(stages));
  COLLIE_ASSERT(costs.embedding >= 0 && costs.block > 0 && costs.head >= 0,
                "costs of embedding, block and head: {}, {}, {}", costs.embedding, costs.block, costs.head);
  std::vector<int64_t> of_stage(stages, costs.block);
  of_stage.front() += costs.embedding;
  of_stage.back() += costs.head;
  std::vector<int64_t> of_rank(stages, 0);  // there are at most as many ranks
  for (size_t stage = 0; stage < stages; ++stage)
    of_rank.at(static_cast<size_t>(rank_of_stage[stage])) += of_stage[stage];
  std::vector<int> blocks(stages, 1);
  const auto rank_of = [&](size_t stage) -> int64_t& {
    return of_rank[static_cast<size_t>(rank_of_stage[stage])];
  };
  for (auto left = config.num_hidden_layers - static_cast<int64_t>(stages); left > 0; --left) {
    size_t best = stages - 1;  // at a tie the last
    for (size_t stage = stages - 1; stage-- > 0;)
      if (std::tie(rank_of(stage), of_stage[stage]) < std::tie(rank_of(best), of_stage[best])) best = stage;
    rank_of(best) += costs.block;
    of_stage[best] += costs.block;
    ++blocks[best];
  }
  return partition_stages(config, blocks);
}

std::vector<StageRange> partition_stages(const ModelConfig& config, int stages, const std::string& how) {
  check_stages(config, stages);
  if (how == "parameters") {
    std::vector<int> each_for_itself(static_cast<size_t>(stages));
    std::iota(each_for_itself.begin(), each_for_itself.end(), 0);
    return partition_stages(config, parameters_of_parts(config), each_for_itself);
  }
  if (how == "uniform") {
    std::vector<int> counts;
    for (int stage = 0; stage < stages; ++stage)
      counts.push_back(
          static_cast<int>(config.num_hidden_layers / stages + (stage < config.num_hidden_layers % stages)));
    return partition_stages(config, counts);
  }
  throw UserError(
      "parallel.partition: unknown '{}'; known: parameters, uniform, or a list of blocks per stage", how);
}

}  // namespace collie
