#include <algorithm>
#include <functional>
#include <limits>

#include "base/error.hpp"
#include "models/stage_model.hpp"
#include "tests/catch.hpp"
#include "tests/models/messages.hpp"

using namespace collie;
using namespace collie::test;

namespace {

ModelConfig model(int64_t blocks, int64_t vocab) {
  ModelConfig config;
  config.hidden_size = 16;
  config.intermediate_size = 32;
  config.num_hidden_layers = blocks;
  config.num_attention_heads = config.num_key_value_heads = 2;
  config.head_dim = 8;
  config.vocab_size = vocab;
  config.max_position_embeddings = 32;
  return config;
}

std::vector<int64_t> sizes(const std::vector<StageRange>& ranges) {
  std::vector<int64_t> all;
  int64_t next = 0;
  for (size_t i = 0; i < ranges.size(); ++i) {
    CHECK(ranges[i].first_block == next);
    CHECK(ranges[i].embedding == (i == 0));
    CHECK(ranges[i].head == (i + 1 == ranges.size()));
    next = ranges[i].last_block;
    all.push_back(next - ranges[i].first_block);
  }
  return all;
}

using Sizes = std::vector<int64_t>;

// Parameters of the stages when cut so.
std::vector<int64_t> loads(const ModelConfig& config, const Sizes& blocks) {
  ModelConfig one = config;
  one.num_hidden_layers = 1;
  const int64_t end = config.vocab_size * config.hidden_size;
  const int64_t block = parameter_count(one) - 2 * end - config.hidden_size;
  std::vector<int64_t> all;
  for (size_t i = 0; i < blocks.size(); ++i)
    all.push_back(blocks[i] * block + (i == 0 ? end : 0) +
                  (i + 1 == blocks.size() ? end + config.hidden_size : 0));
  return all;
}

// The largest stage of the best cut, by trying all.
int64_t best_largest(const ModelConfig& config, int stages, Sizes& prefix, int64_t left) {
  if (static_cast<int>(prefix.size()) == stages) {
    if (left != 0) return -1;
    const auto all = loads(config, prefix);
    return *std::max_element(all.begin(), all.end());
  }
  int64_t best = -1;
  for (int64_t take = 1; take <= left; ++take) {
    prefix.push_back(take);
    const int64_t found = best_largest(config, stages, prefix, left - take);
    if (found >= 0 && (best < 0 || found < best)) best = found;
    prefix.pop_back();
  }
  return best;
}

}  // namespace

TEST_CASE("uniform partition: as even as possible, earlier stages larger", "[partition]") {
  CHECK(sizes(partition_stages(model(7, 64), 3, "uniform")) == Sizes{3, 2, 2});
  CHECK(sizes(partition_stages(model(6, 64), 3, "uniform")) == Sizes{2, 2, 2});
  CHECK(sizes(partition_stages(model(5, 64), 1, "uniform")) == Sizes{5});
  CHECK(sizes(partition_stages(model(5, 64), 5, "uniform")) == Sizes{1, 1, 1, 1, 1});
}

TEST_CASE("partition by parameters: the largest stage is as small as any cut can make it", "[partition]") {
  for (const int64_t vocab : {1, 100, 300, 1000, 5000})
    for (const int stages : {1, 2, 3, 4})
      for (const int64_t blocks : {4, 5, 7, 9}) {
        CAPTURE(vocab, stages, blocks);
        const ModelConfig config = model(blocks, vocab);
        const Sizes found = sizes(partition_stages(config, stages, "parameters"));
        const auto all = loads(config, found);
        Sizes prefix;
        CHECK(*std::max_element(all.begin(), all.end()) == best_largest(config, stages, prefix, blocks));
      }
}

TEST_CASE("partition by parameters: ties make the rest even, then earlier stages smaller", "[partition]") {
  CHECK(sizes(partition_stages(model(5, 1), 2, "parameters")) == Sizes{3, 2});  // the last has a norm more
  CHECK(sizes(partition_stages(model(7, 1), 3, "parameters")) ==
        Sizes{2, 3, 2});  // and so has no third block here
  // Ends so large that stages with one block are the largest: the blocks between them are spread evenly.
  CHECK(sizes(partition_stages(model(10, 100000), 4, "parameters")) == Sizes{1, 4, 4, 1});
  CHECK(sizes(partition_stages(model(11, 100000), 4, "parameters")) == Sizes{1, 4, 5, 1});
}

TEST_CASE("partition by given costs: the costliest rank is as cheap as any cut can make it", "[partition]") {
  using Ranks = std::vector<int>;
  const auto cut = [](int64_t blocks, const PartCosts& costs, const Ranks& rank_of_stage) {
    return sizes(partition_stages(model(blocks, 64), costs, rank_of_stage));
  };
  // One stage per rank: a head as costly as three blocks, an embedding that costs nothing to speak of.
  CHECK(cut(12, {1, 100, 300}, {0, 1, 2}) == Sizes{5, 5, 2});
  CHECK(cut(12, {0, 100, 10000}, {0, 1, 2}) == Sizes{5, 6, 1});
  CHECK(cut(8, {0, 1, 0}, {0, 1, 2, 3}) == Sizes{2, 2, 2, 2});
  CHECK(cut(5, {7, 3, 9}, {0}) == Sizes{5});
  // Two stages per rank, there and back: the first rank has both ends, and fewer blocks for it.
  CHECK(cut(16, {0, 100, 400}, {0, 1, 1, 0}) == Sizes{5, 5, 5, 1});
  // Two stages per rank, one after the other (interleaved): embedding and head fall to different ranks.
  CHECK(cut(16, {200, 100, 400}, {0, 1, 0, 1}) == Sizes{3, 5, 6, 2});
}

TEST_CASE("partition by given costs: no cut has a cheaper costliest rank", "[partition]") {
  const std::vector<int> ranks =
      GENERATE(std::vector<int>{0, 1, 2}, std::vector<int>{0, 1, 1, 0}, std::vector<int>{0, 1, 0, 1});
  const int64_t embedding = GENERATE(0, 3, 25), head = GENERATE(0, 4, 31), blocks = GENERATE(5, 9);
  CAPTURE(ranks, embedding, head, blocks);
  const PartCosts costs{embedding, 5, head};
  const auto costliest = [&](const Sizes& cut) {
    Sizes of_rank(3, 0);
    for (size_t stage = 0; stage < cut.size(); ++stage)
      of_rank[static_cast<size_t>(ranks[stage])] +=
          cut[stage] * costs.block + (stage == 0 ? embedding : 0) + (stage + 1 == cut.size() ? head : 0);
    return *std::max_element(of_rank.begin(), of_rank.end());
  };
  int64_t best = std::numeric_limits<int64_t>::max();
  Sizes cut(ranks.size(), 1);
  const std::function<void(size_t, int64_t)> try_all = [&](size_t stage, int64_t left) {
    if (stage + 1 == cut.size()) {
      cut[stage] = left;
      best = std::min(best, costliest(cut));
      return;
    }
    for (cut[stage] = 1; cut[stage] + static_cast<int64_t>(cut.size() - stage) - 1 <= left; ++cut[stage])
      try_all(stage + 1, left - cut[stage]);
  };
  try_all(0, blocks);
  CHECK(costliest(sizes(partition_stages(model(blocks, 64), costs, ranks))) == best);
}

TEST_CASE("a partition by hand must have every block once", "[partition]") {
  CHECK(sizes(partition_stages(model(6, 64), std::vector<int>{1, 3, 2})) == Sizes{1, 3, 2});
  CHECK_THROWS_AS(partition_stages(model(6, 64), std::vector<int>{1, 3}), UserError);
  CHECK_THROWS_AS(partition_stages(model(6, 64), std::vector<int>{0, 6}), UserError);
  CHECK_THROWS_AS(partition_stages(model(6, 64), std::vector<int>{}), UserError);
}

TEST_CASE("partitions that cannot be are refused by name", "[partition]") {
  const auto refusal = [](int stages, const std::string& how) {
    return message_of([&] { partition_stages(model(3, 64), stages, how); });
  };
  check_says(refusal(4, "parameters"), {"parallel.pp_size", "4 stages", "3 blocks"});
  check_says(refusal(2, "best"), {"parallel.partition", "'best'", "uniform"});
  CHECK_THROWS_AS(partition_stages(model(3, 64), 0, "uniform"), UserError);
}
