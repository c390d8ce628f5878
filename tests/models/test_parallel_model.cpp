// Tensor, sequence and context parallelism against the whole model on one rank: no layout may change the
// result.
#include "models/tensor_parallel.hpp"
#include "tests/catch.hpp"
#include "tests/models/messages.hpp"
#include "tests/models/rank_harness.hpp"

using namespace collie;
using namespace collie::test;

namespace {

// Sizes that four ranks can share, with as many key/value heads as a case wants.
ModelConfig parallel_config(int64_t kv_heads, bool tied, bool bias = true) {
  ModelConfig config = tiny_config(tied);
  config.hidden_size = 12;
  config.intermediate_size = 20;
  config.num_attention_heads = 8;
  config.num_key_value_heads = kv_heads;
  config.vocab_size = 24;
  config.max_position_embeddings = 512;
  config.attention_bias = config.mlp_bias = bias;
  return config;
}

const std::vector<StageRange> whole = {{0, 2, true, true}};
const std::vector<StageRange> halves = {{0, 1, true, false}, {1, 2, false, true}};

void mask_some(MicroBatch& batch) {
  for (size_t i = 0; i < batch.labels.size(); i += 3) batch.labels[i] = ignored_label;
  batch.target_tokens = 0;
  for (const int32_t label : batch.labels) batch.target_tokens += label != ignored_label;
}

// Odd lengths, documents longer than a chunk of tokens, fewer tokens than ranks, more than a chunk of the
// head.
std::vector<MicroBatch> awkward_batches(const ModelConfig& config) {
  std::vector<MicroBatch> batches;
  for (const std::vector<int>& lengths : std::vector<std::vector<int>>{
           {5, 3, 7}, {37}, {1, 13, 1, 9, 2}, {}, {1}, {3}, {2, 1}, {16, 16}, {11, 150, 4, 100}})
    batches.push_back(make_batch(lengths, config.vocab_size, "batch " + std::to_string(batches.size())));
  mask_some(batches[0]);
  mask_some(batches[2]);
  mask_some(batches.back());
  for (int32_t& label : batches[7].labels) label = ignored_label;
  return batches;
}

constexpr double scale = 0.05;

// Losses and gradients of `layout` against one rank's.
void compare(const ModelConfig& config, const std::vector<StageRange>& ranges, const GridLayout& layout,
             const std::vector<MicroBatch>& batches) {
  const double tolerance = layout.device == "reference" ? 1e-10 : 1e-5;
  Grid one(config, ranges, {1, false, 1, layout.device}), grid(config, ranges, layout);
  for (size_t i = 0; i < batches.size(); ++i) {
    INFO("micro-batch " << i << " of " << batches[i].tokens.size() << " tokens");
    const double expected = one.ranks[0]->micro_batch(batches[i], scale);
    CHECK(grid.sum_of_losses([&](Rank& rank) { return rank.micro_batch(batches[i], scale); }) ==
          Approx(expected).epsilon(tolerance));
    CHECK(grid.sum_of_losses([&](Rank& rank) { return rank.evaluate(batches[i]); }) ==
          Approx(expected).epsilon(tolerance));
  }
  const auto expected = one.gradients(), found = grid.gradients();
  REQUIRE(found.size() == expected.size());
  for (const auto& [name, gradient] : expected) {
    INFO(name);
    CHECK(relative_error(found.at(name), gradient, 1e-3) < tolerance);
  }
}

}  // namespace

TEST_CASE("tensor parallelism gives the losses and gradients of one rank", "[parallel]") {
  const std::string device = GENERATE(from_range(all_devices));
  const int tensor = GENERATE(2, 4);
  const bool sequence = GENERATE(false, true);
  const int64_t kv_heads = GENERATE(1, 2, 8);
  const bool tied = kv_heads == 2;
  CAPTURE(device, tensor, sequence, kv_heads);
  const ModelConfig config = parallel_config(kv_heads, tied, kv_heads != 1);
  compare(config, tied ? halves : whole, {tensor, sequence, 1, device}, awkward_batches(config));
}
