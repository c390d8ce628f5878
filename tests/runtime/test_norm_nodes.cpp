#include "runtime/norm_nodes.hpp"

#include <algorithm>
#include <cmath>
#include <map>
#include <set>
#include <thread>

#include "base/random.hpp"
#include "kernels/tree_sum.hpp"
#include "tests/catch.hpp"
#include "tests/models/support.hpp"

namespace collie::test {
namespace {

ModelWorkerSettings settings_of(const Grid& grid, int zero_stage, bool tied) {
  ModelWorkerSettings settings;
  settings.grid = grid;
  settings.model = tiny_config(tied);
  settings.model.architecture.num_hidden_layers = 4;
  settings.model.architecture.num_attention_heads = 4;
  settings.model.architecture.num_key_value_heads = 2;
  settings.model.architecture.head_dim = 64;
  settings.model.architecture.hidden_size = 256;
  settings.model.architecture.intermediate_size = 128;
  settings.model.architecture.vocab_size = 64;
  ModelConfig& model = settings.model.architecture;
  model.qkv_bias = model.output_bias = model.mlp_bias = false;
  settings.ranges = partition_stages(settings.model.architecture, 2 * grid.pipeline, "uniform");
  for (int stage = 0; stage < 2 * grid.pipeline; ++stage)
    settings.rank_of_stage.push_back(stage % grid.pipeline);
  settings.zero_stage = zero_stage;
  settings.bucket_elements = 4096;
  return settings;
}

// A block's sum of squares, whoever has it: of so different sizes that the order of additions shows.
double sum_of_block(const NormNode& at, int64_t block) {
  const RandomStream stream(random_key(5, fmt::format("{} {} {}", at.parameter, at.piece, block)));
  return std::ldexp(1 + stream.uniform(0), static_cast<int>(stream.below(60, 1)));
}

std::vector<double> values_of(const std::vector<NormNode>& nodes) {
  std::vector<double> values;
  for (const NormNode& at : nodes) {
    std::vector<double> blocks;
    for (int64_t block = at.node.first; block < at.node.first + at.node.blocks; ++block)
      blocks.push_back(sum_of_block(at, block));
    values.push_back(tree_sum(blocks.data(), at.node.blocks));
  }
  return values;
}

// What each rank finds, each on a thread of its own.
std::vector<std::vector<double>> agreed_by_all(const ModelWorkerSettings& settings,
                                               const ReductionTree& tree) {
  const int ranks = settings.grid.ranks();
  std::vector<std::vector<std::shared_ptr<ProcessGroup>>> groups(static_cast<size_t>(ranks));
  for (int level = 0; level < tree.levels(); ++level)
    for (int rank = 0; rank < ranks; ++rank) {
      const auto of_rank = tree.groups_of(rank);
      if (static_cast<int>(of_rank.size()) <= level) continue;
      const std::vector<int>& group = of_rank[static_cast<size_t>(level)];
      if (group.front() != rank) continue;
      const auto ends = make_in_process_group(static_cast<int>(group.size()));
      for (size_t i = 0; i < group.size(); ++i) groups[static_cast<size_t>(group[i])].push_back(ends[i]);
    }
  std::vector<std::vector<double>> outcomes(static_cast<size_t>(ranks));
  std::vector<std::thread> threads;
  for (int rank = 0; rank < ranks; ++rank)
    threads.emplace_back([&, rank] {
      // One thread each: oneTBB's own are not instrumented for ThreadSanitizer.
      const auto operations = make_cpu_operations(1, std::make_shared<MemoryAccount>());
      Operations& ops = *operations;
      NormNodes nodes(settings);
      const NormOrder order = nodes.order_of(rank, tree);
      const std::vector<double> values = values_of(nodes.of_rank(rank));
      Tensor own = ops.empty({order.width()}, DType::f64, Category::workspace);
      ops.fill(own, 0);
      std::copy(values.begin(), values.end(), own.data<double>());
      std::vector<ProcessGroup*> of_levels;
      for (const auto& group : groups[static_cast<size_t>(rank)]) of_levels.push_back(group.get());
      outcomes[static_cast<size_t>(rank)] =
          ops.read(reduce_step_outcome(ops, order, own, of_levels, {1})).value();
    });
  for (auto& thread : threads) thread.join();
  return outcomes;
}

TEST_CASE("what all ranks contribute to a norm is every block of every parameter once", "[actors][norm]") {
  const Grid grid = GENERATE(Grid{}, Grid{2, 1, 1, 1}, Grid{1, 3, 1, 1}, Grid{1, 2, 2, 1}, Grid{1, 1, 1, 4},
                             Grid{2, 2, 1, 2});
  const int zero_stage = GENERATE(0, 1, 3);
  const bool tied = GENERATE(false, true);
  CAPTURE(grid.pipeline, grid.data, grid.context, grid.tensor, zero_stage, tied);
  const ModelWorkerSettings settings = settings_of(grid, zero_stage, tied);
  NormNodes nodes(settings);

  // [parameter, piece] -> blocks
  std::map<std::pair<int, int>, int64_t> blocks;
  for (int rank = 0; rank < grid.ranks(); ++rank)
    for (const NormNode& at : nodes.of_rank(rank)) blocks[{at.parameter, at.piece}] += at.node.blocks;
  const int data_ranks = grid.data_ranks();
  CHECK((blocks[{-1, 0}]) == data_ranks);
  const auto parameters = model_parameters(settings.model);
  for (int id = 0; id < static_cast<int>(parameters.size()); ++id) {
    const Parameter& whole = parameters[static_cast<size_t>(id)];
    CAPTURE(whole.name);
    for (int piece = 0; piece < grid.tensor; ++piece) {
      const auto found = blocks.find({id, piece});
      const bool norm = whole.initialisation == Initialisation::ones;
      const bool key_value =
          whole.name.find("k_proj") != std::string::npos || whole.name.find("v_proj") != std::string::npos;
      // What several ranks of the tensor group hold is contributed by the first of them.
      const int holders = norm ? grid.tensor : key_value && grid.tensor == 4 ? 2 : 1;
      if (piece % holders != 0) {
        CHECK(found == blocks.end());
        continue;
      }
      REQUIRE(found != blocks.end());
      const int64_t elements = whole.shape.numel() / (norm ? 1 : grid.tensor / holders);
      CHECK(found->second == (elements + reduction_block - 1) / reduction_block);
    }
  }
}

TEST_CASE("all ranks find one norm, of the same bits in any layout, on a tree of groups of any size",
          "[actors][norm]") {
  const int tensor = GENERATE(1, 2), data = GENERATE(1, 3, 8);
  const bool tied = GENERATE(false, true);
  const auto expected =
      agreed_by_all(settings_of(Grid{1, 1, 1, tensor}, 0, tied), ReductionTree(Grid{1, 1, 1, tensor}))
          .front();
  // Losses are the data ranks' own.
  const Grid replicas{1, data, 1, tensor};
  const double loss = agreed_by_all(settings_of(replicas, 0, tied), ReductionTree(replicas)).front()[0];
  for (const int pipeline : {1, 2})
    for (const int zero_stage : {0, 1, 3})
      for (const int fan_in : {2, 3, 16}) {
        const Grid grid{pipeline, data, 1, tensor};
        CAPTURE(tensor, data, tied, pipeline, zero_stage, fan_in);
        for (const auto& outcome :
             agreed_by_all(settings_of(grid, zero_stage, tied), ReductionTree(grid, fan_in)))
          CHECK(outcome == std::vector<double>{loss, expected[1], expected[2]});
      }
}

TEST_CASE("70B parameters on 4,096 ranks agree on a step with less than 1 MiB per rank",
          "[actors][norm][slow]") {
  const auto [grid, zero_stage] = GENERATE(std::pair(Grid{8, 64, 1, 8}, 1), std::pair(Grid{16, 32, 1, 8}, 2),
                                           std::pair(Grid{1, 4096, 1, 1}, 3), std::pair(Grid{1, 64, 8, 8}, 1),
                                           std::pair(Grid{64, 1, 1, 64}, 0));
  CAPTURE(grid.pipeline, grid.data, grid.context, grid.tensor, zero_stage);
  ModelWorkerSettings settings;
  settings.grid = grid;
  settings.model = tiny_config(false);
  settings.model.architecture.num_hidden_layers = 80;
  settings.model.architecture.num_attention_heads = 64;
  settings.model.architecture.num_key_value_heads = 8;
  settings.model.architecture.head_dim = 128;
  settings.model.architecture.hidden_size = 8192;
  settings.model.architecture.intermediate_size = 28672;
  settings.model.architecture.vocab_size = 32000;
  settings.ranges = partition_stages(settings.model.architecture, grid.pipeline, "parameters");
  for (int stage = 0; stage < grid.pipeline; ++stage) settings.rank_of_stage.push_back(stage);
  settings.zero_stage = zero_stage;
  const ReductionTree tree(grid);
  // The tree's first rank is in a group of each level.
  const NormOrder order = NormNodes(settings).order_of(0, tree);
  REQUIRE(order.levels.size() == 3);
  int64_t bytes = 0;
  for (size_t level = 0; level < order.levels.size(); ++level)
    bytes += static_cast<int64_t>(tree.groups_of(0)[level].size()) * order.levels[level].width * 8;
  CAPTURE(order.levels[0].width, order.levels[1].width, order.levels[2].width);
  CHECK(bytes < int64_t{1} << 20);
}

TEST_CASE("the reduction tree's groups have every rank once, and go on with their first ranks alone",
          "[actors][norm]") {
  for (const Grid& grid : {Grid{}, Grid{1, 16, 1, 1}, Grid{1, 17, 1, 1}, Grid{3, 5, 2, 4}, Grid{8, 64, 1, 8}})
    for (const int fan_in : {2, 5, 16}) {
      CAPTURE(grid.pipeline, grid.data, grid.context, grid.tensor, fan_in);
      const ReductionTree tree(grid, fan_in);
      std::vector<int> left = grid.all_ranks();
      for (int level = 0; level < tree.levels(); ++level) {
        std::set<int> seen, next;
        for (const int rank : left) {
          REQUIRE(static_cast<int>(tree.groups_of(rank).size()) > level);
          const std::vector<int> group = tree.groups_of(rank)[static_cast<size_t>(level)];
          REQUIRE(static_cast<int>(group.size()) <= fan_in);
          REQUIRE(std::find(group.begin(), group.end(), rank) != group.end());
          for (const int member : group) REQUIRE(tree.groups_of(member)[static_cast<size_t>(level)] == group);
          seen.insert(rank);
          next.insert(group.front());
        }
        CHECK(seen.size() == left.size());
        left.assign(next.begin(), next.end());
        for (const int rank : seen)
          if (!next.contains(rank)) CHECK(static_cast<int>(tree.groups_of(rank).size()) == level + 1);
      }
      CHECK(left.size() == 1);
      CHECK(tree.ranks_below(left.front(), 0) == left);
    }
}

TEST_CASE("a stage's parameters are known without the stage", "[actors][norm]") {
  const bool tied = GENERATE(false, true);
  const auto owner = make_operations("cpu");
  const ModelWorkerSettings settings = settings_of(Grid{2, 1, 1, 2}, 0, tied);
  for (const StageRange& range : settings.ranges)
    for (int tensor = 0; tensor < 2; ++tensor) {
      const ModelShard shard{tensor, 2};
      const auto model = make_stage_model(settings.model, range, *owner.operations, shard);
      const auto known = stage_parameters(settings.model, range, shard);
      REQUIRE(known.size() == model->parameters().size());
      for (size_t i = 0; i < known.size(); ++i) {
        const Parameter& is = model->parameters()[i];
        CAPTURE(is.name);
        CHECK(known[i].name == is.name);
        CHECK((known[i].shape == is.shape));
        CHECK((known[i].pieces.at(0).offsets == is.pieces.at(0).offsets));
        CHECK(known[i].tied_copy == is.tied_copy);
        CHECK(known[i].is_primary == is.is_primary);
        CHECK(known[i].own_rows == is.own_rows);
        CHECK(known[i].layer == is.layer);
      }
    }
}

}  // namespace
}  // namespace collie::test
