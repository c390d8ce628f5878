// Tensor, sequence and context parallelism against the whole model on one rank: no layout may change the
// result.
#include "models/tensor_parallel.hpp"

#include "comm/fake_group.hpp"
#include "models/context_slice.hpp"
#include "models/ring_attention.hpp"
#include "tests/catch.hpp"
#include "tests/comm/queue_driver.hpp"
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
  config.qkv_bias = config.output_bias = config.mlp_bias = bias;
  return config;
}

// Every family's blocks, with sizes that four ranks can share.
ModelConfig family_config(const std::string& family) {
  ModelConfig config = parallel_config(2, family != "gpt_neox");
  config.hidden_size = 32;
  return as_family(config, family);
}

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
    batches.push_back(make_batch_for(config, lengths, "batch " + std::to_string(batches.size())));
  mask_some(batches[0]);
  mask_some(batches[2]);
  mask_some(batches.back());
  for (int32_t& label : batches[7].labels) label = ignored_label;
  return batches;
}

constexpr double scale = 0.05;

// Losses and gradients of `layout` against one rank's.
void compare(const ModelSpec& config, const std::vector<StageRange>& ranges, const GridLayout& layout,
             const std::vector<MicroBatch>& batches) {
  const double tolerance = layout.device == "reference" ? 1e-10 : 1e-5;
  Grid one(config, ranges, {1, false, 1, layout.device}), grid(config, ranges, layout);
  for (size_t i = 0; i < batches.size(); ++i) {
    INFO("micro-batch " << i << " of " << batches[i].tokens.size() << " tokens");
    const double expected = one.ranks[0]->micro_batch(batches[i], scale);
    CHECK(grid.sum_of_losses([&](Rank& rank) { return rank.micro_batch(batches[i], scale); }) ==
          Approx(expected).epsilon(tolerance));
    const double evaluated = config.dropout ? one.ranks[0]->evaluate(batches[i]) : expected;
    CHECK(grid.sum_of_losses([&](Rank& rank) { return rank.evaluate(batches[i]); }) ==
          Approx(evaluated).epsilon(tolerance));
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
  compare(config, tied ? two_stages : one_stage, {tensor, sequence, 1, device}, awkward_batches(config));
}

TEST_CASE("context parallelism gives the losses and gradients of one rank", "[parallel][context]") {
  const std::string device = GENERATE(from_range(all_devices));
  const int context = GENERATE(2, 3, 4);
  const bool cut = GENERATE(false, true);
  CAPTURE(device, context, cut);
  const ModelConfig config = parallel_config(2, cut);
  compare(config, cut ? two_stages : one_stage, {1, false, context, device}, awkward_batches(config));
}

TEST_CASE("tensor, sequence and context parallelism together give the losses and gradients of one rank",
          "[parallel][context]") {
  const std::string device = GENERATE(from_range(all_devices));
  const auto [tensor, context] = GENERATE(table<int, int>({{2, 2}, {4, 2}, {2, 4}}));
  const bool sequence = GENERATE(false, true);
  const bool tied = tensor == 4;
  CAPTURE(device, tensor, context, sequence);
  const ModelConfig config = parallel_config(2, tied);
  compare(config, tied ? two_stages : one_stage, {tensor, sequence, context, device},
          awkward_batches(config));
}

TEST_CASE("every family gives the losses and gradients of one rank under every layout",
          "[parallel][family]") {
  const std::string device = GENERATE(from_range(all_devices));
  const std::string family = GENERATE("falcon", "gemma", "gemma2", "gemma3_text", "glm", "glm4", "chatglm",
                                      "gpt2", "gptj", "codegen", "gpt_neox", "internlm", "internlm2",
                                      "mistral", "phi3", "qwen2", "qwen3", "starcoder2");
  const auto [tensor, sequence, context] =
      GENERATE(table<int, bool, int>({{4, false, 1}, {2, true, 1}, {1, false, 3}, {4, true, 2}}));
  CAPTURE(device, family, tensor, sequence, context);
  const ModelConfig config = family_config(family);
  compare(config, two_stages, {tensor, sequence, context, device}, awkward_batches(config));
}

TEST_CASE("windows give the losses and gradients of one rank where ranks share heads or tokens",
          "[parallel][family][windows]") {
  const std::string device = GENERATE(from_range(all_devices));
  // Windows of a token, inside a chunk, over several, and one that the longest document fits into.
  const auto [family, window] = GENERATE(table<std::string, int64_t>({{"gemma2", 6},
                                                                      {"gemma2", 40},
                                                                      {"gemma3_text", 1},
                                                                      {"gemma3_text", 150},
                                                                      {"mistral", 6},
                                                                      {"mistral", 40}}));
  const auto [tensor, sequence, context] = GENERATE(table<int, bool, int>(
      {{4, false, 1}, {2, true, 1}, {1, false, 2}, {1, false, 3}, {1, false, 4}, {2, true, 2}}));
  CAPTURE(device, family, tensor, sequence, context, window);
  ModelConfig config = family_config(family);
  config.blocks.resize(2);
  config.blocks[0].window = window;  // and the second block sees everything
  if (family == "mistral") config.blocks[1].window = window;
  compare(config, two_stages, {tensor, sequence, context, device}, awkward_batches(config));
}

TEST_CASE("documents with blanks give the losses and gradients of one rank where ranks share heads",
          "[parallel][family][blanks]") {
  const std::string device = GENERATE(from_range(all_devices));
  const auto [tensor, sequence] = GENERATE(table<int, bool>({{4, false}, {2, true}}));
  CAPTURE(device, tensor, sequence);
  const ModelConfig config = family_config("chatglm_6b");
  compare(config, two_stages, {tensor, sequence, 1, device}, awkward_batches(config));
}

TEST_CASE("documents with blanks have one rank's masks of dropout where ranks share heads",
          "[parallel][dropout][blanks]") {
  const std::string device = GENERATE(from_range(all_devices));
  CAPTURE(device);
  ModelConfig config = family_config("chatglm_6b");
  config.dropout = {0.2, 0.25, 0.3};
  compare({config, {}, true}, two_stages, {2, true, 1, device}, awkward_batches(config));
}

TEST_CASE("context parallelism is refused for documents with blanks", "[parallel][context][blanks]") {
  const ModelConfig config = family_config("chatglm_6b");
  check_says(message_of([&] {
               check_shard(config, {0, 1, false, 1, 2});
             }),
             {"parallel.cp_size", "position_encoding_2d", "use 1"});
}

TEST_CASE("dropout has the masks of one rank under every layout", "[parallel][dropout]") {
  const std::string device = GENERATE(from_range(all_devices));
  const std::string family = GENERATE("llama", "gpt2");
  const auto [tensor, sequence, context] =
      GENERATE(table<int, bool, int>({{4, false, 1}, {2, true, 1}, {1, false, 3}, {4, true, 2}}));
  CAPTURE(device, family, tensor, sequence, context);
  ModelConfig config = family_config(family);
  config.dropout = {0.2, 0.25, 0.3};
  config.blocks.assign(2, {.window = family == "llama" ? 9 : 0, .soft_cap = 2});
  compare({config, {}, true}, two_stages, {tensor, sequence, context, device}, awkward_batches(config));
}

TEST_CASE("sequence parallelism without tensor parallelism changes no bit", "[parallel]") {
  const std::string device = GENERATE(from_range(all_devices));
  const ModelConfig config = parallel_config(2, true);
  Grid plain(config, one_stage, {1, false, 1, device}), sequence(config, one_stage, {1, true, 1, device});
  for (const MicroBatch& batch : awkward_batches(config)) {
    CHECK(sequence.ranks[0]->micro_batch(batch, scale) == plain.ranks[0]->micro_batch(batch, scale));
    CHECK(sequence.ranks[0]->evaluate(batch) == plain.ranks[0]->evaluate(batch));
  }
  CHECK(sequence.gradients() == plain.gradients());
}

TEST_CASE("layouts repeat bitwise", "[parallel]") {
  const ModelConfig config = parallel_config(2, true);
  const auto run = [&] {
    Grid grid(config, two_stages, {2, true, 2, "cpu"});
    std::vector<double> losses;
    for (const MicroBatch& batch : awkward_batches(config))
      losses.push_back(grid.sum_of_losses([&](Rank& rank) { return rank.micro_batch(batch, scale); }));
    return std::pair(losses, grid.gradients());
  };
  CHECK(run() == run());
}

TEST_CASE("memory: no layout reads memory before it is written", "[parallel][memory]") {
  const std::string device = GENERATE(from_range(all_devices));
  const ModelConfig config = parallel_config(2, true);
  const auto run = [&](bool poison) {
    Grid grid(config, two_stages, {2, true, 2, device});
    set_poison(poison);
    std::vector<double> losses;
    for (const MicroBatch& batch : awkward_batches(config)) {
      losses.push_back(grid.sum_of_losses([&](Rank& rank) { return rank.micro_batch(batch, scale); }));
      losses.push_back(grid.sum_of_losses([&](Rank& rank) { return rank.evaluate(batch); }));
    }
    set_poison(false);
    return std::pair(losses, grid.gradients());
  };
  CHECK(run(true) == run(false));
}

TEST_CASE("every rank decodes the logits of one rank", "[parallel][decode]") {
  const std::string device = GENERATE(from_range(all_devices));
  const GridLayout layout = GENERATE(GridLayout{2, false, 1}, GridLayout{4, true, 1}, GridLayout{1, false, 2},
                                     GridLayout{2, true, 2});
  CAPTURE(device, layout.tensor, layout.sequence, layout.context);
  const std::string family = GENERATE("llama", "gemma2", "gemma3_text", "glm4", "chatglm", "gpt2", "codegen",
                                      "phi3", "internlm2", "qwen2", "qwen3", "starcoder2");
  CAPTURE(family);
  const ModelConfig config = family_config(family);
  const MicroBatch all = make_batch({9}, config.vocab_size, "prompt");
  Grid one(config, two_stages, {1, false, 1, device});
  Grid grid(config, two_stages, {layout.tensor, layout.sequence, layout.context, device});
  const std::vector<int> sizes = {5, 1, 3};
  const std::vector<double> expected = one.ranks[0]->decode(all, sizes);
  REQUIRE(expected.size() == 3 * 24);
  std::vector<std::vector<double>> found(grid.ranks.size());
  grid.run([&](Rank& rank) {
    found[static_cast<size_t>(rank.shard.context_rank * layout.tensor + rank.shard.tensor_rank)] =
        rank.decode(all, sizes);
  });
  for (const std::vector<double>& logits : found)
    CHECK(relative_error(logits, expected) < (device == "reference" ? 1e-12 : 1e-5));
}

TEST_CASE("sequences that are decoded together have the logits of each alone", "[parallel][decode]") {
  const std::string device = GENERATE(from_range(all_devices));
  const GridLayout layout = GENERATE(GridLayout{1, false, 1}, GridLayout{2, true, 2});
  CAPTURE(device, layout.tensor, layout.sequence, layout.context);
  const std::string family = GENERATE("llama", "gpt2", "phi3", "qwen2");
  CAPTURE(family);
  const ModelConfig config = family_config(family);
  const MicroBatch all = make_batch({9, 4, 12}, config.vocab_size, "prompts");
  const std::vector<std::vector<int>> sizes = {{5, 1, 3}, {4}, {2, 2, 1, 7}};
  Grid one(config, two_stages, {1, false, 1, device});
  std::vector<std::vector<double>> expected;
  for (size_t s = 0; s < sizes.size(); ++s) {
    const auto begin = all.document_starts[s], end = all.document_starts[s + 1];
    MicroBatch alone = empty_micro_batch();
    alone.tokens.assign(all.tokens.begin() + begin, all.tokens.begin() + end);
    alone.positions.assign(all.positions.begin() + begin, all.positions.begin() + end);
    alone.document_starts.push_back(end - begin);
    expected.push_back(one.ranks[0]->decode(alone, sizes[s]));
  }
  Grid grid(config, two_stages, {layout.tensor, layout.sequence, layout.context, device});
  std::vector<std::vector<std::vector<double>>> found(grid.ranks.size());
  grid.run([&](Rank& rank) {
    found[static_cast<size_t>(rank.shard.context_rank * layout.tensor + rank.shard.tensor_rank)] =
        rank.decode_together(all, sizes);
  });
  for (const auto& of_rank : found)
    for (size_t s = 0; s < sizes.size(); ++s) {
      CAPTURE(s);
      CHECK(of_rank[s].size() == sizes[s].size() * static_cast<size_t>(config.vocab_size));
      CHECK(relative_error(of_rank[s], expected[s]) < (device == "reference" ? 1e-12 : 1e-5));
    }
}

TEST_CASE("blanks are found in the first tokens of sequences that are decoded together", "[decode][blanks]") {
  const std::string device = GENERATE(from_range(all_devices));
  const int tensor = GENERATE(1, 2);
  CAPTURE(device, tensor);
  const ModelConfig config = family_config("chatglm_6b");
  const MicroBatch all = make_batch_for(config, {9, 2, 12}, "prompts");
  const std::vector<std::vector<int>> sizes = {{5, 1, 3}, {2}, {7, 2, 1, 2}};
  Grid grid(config, two_stages, {tensor, false, 1, device});
  std::vector<std::vector<std::vector<double>>> found(grid.ranks.size());
  grid.run([&](Rank& rank) {
    found[static_cast<size_t>(rank.shard.tensor_rank)] = rank.decode_together(all, sizes);
  });
  Grid one(config, two_stages, {1, false, 1, device});
  for (size_t s = 0; s < sizes.size(); ++s) {
    const auto begin = all.document_starts[s], end = all.document_starts[s + 1];
    MicroBatch alone = empty_micro_batch();
    alone.tokens.assign(all.tokens.begin() + begin, all.tokens.begin() + end);
    alone.positions.assign(all.positions.begin() + begin, all.positions.begin() + end);
    alone.document_starts.push_back(end - begin);
    const std::vector<double> expected = one.ranks[0]->decode(alone, sizes[s]);
    for (const auto& of_rank : found)
      CHECK(relative_error(of_rank[s], expected) < (device == "reference" ? 1e-12 : 1e-5));
    // All at once is the same last row.
    const std::vector<double> at_once = one.ranks[0]->decode(alone, {end - begin});
    CHECK(relative_error(at_once, std::vector<double>(expected.end() - config.vocab_size, expected.end())) <
          (device == "reference" ? 1e-12 : 1e-5));
  }
}

TEST_CASE("a document without a blank, or without a start token behind it, is named", "[blanks]") {
  const ModelConfig config = family_config("chatglm_6b");
  Grid one(config, two_stages, {1, false, 1, "reference"});
  MicroBatch batch = make_batch_for(config, {4, 0, 6}, "batch");
  const auto wrong = GENERATE(0, 1);
  for (size_t token = 4; token < batch.tokens.size(); ++token)
    if (wrong == 0 ? batch.tokens[token] == config.blanks.start : batch.tokens[token] != config.blanks.start)
      batch.tokens[token] = 0;
  check_says(message_of<RunError>([&] { one.ranks[0]->evaluate(batch); }),
             {"document 2", "blank", "bos_token_id", "gmask_token_id"});
  MicroBatch last = empty_micro_batch();
  last.tokens.assign(batch.tokens.begin() + 4, batch.tokens.end());
  last.positions = {0, 1, 2, 3, 4, 5};
  last.document_starts.push_back(6);
  check_says(message_of<RunError>([&] { one.ranks[0]->decode(last, {6}); }),
             {"sequence 0", "blank", "bos_token_id", "gmask_token_id"});
}

TEST_CASE("a half of a block costs one reduction forward and one backward", "[parallel][collectives]") {
  using Counts = std::map<std::string, int>;
  const bool sequence = GENERATE(false, true);
  CAPTURE(sequence);
  const ModelConfig config = parallel_config(2, false);
  const std::vector<StageRange> ranges = {{0, 0, true, false}, {0, 2, false, false}, {2, 2, false, true}};
  Grid grid(config, ranges, {2, sequence, 1});
  const MicroBatch batch = make_batch({6, 7}, config.vocab_size, "batch");
  const Rank& first = *grid.ranks[0];

  grid.collect([&](Rank& rank) { return rank.forward(batch, scale); });
  // The embedding's sum, two for each of two blocks; the head's d(hidden), and the statistics of one chunk.
  CHECK(first.tensor->take() == (sequence ? Counts{{"reduce_scatter", 1 + 4 + 1}, {"all_gather", 4 + 1 + 1}}
                                          : Counts{{"all_reduce", 1 + 4 + 1}, {"all_gather", 1}}));
  grid.run([&](Rank& rank) { rank.backward_input(batch); });
  CHECK(first.tensor->take() ==
        (sequence ? Counts{{"reduce_scatter", 4}, {"all_gather", 4}} : Counts{{"all_reduce", 4}}));
  grid.run([&](Rank& rank) { rank.backward_weight(batch); });
  // Each half gathers its input and its output's gradient again; the embedding its output's gradient.
  CHECK(first.tensor->take() == (sequence ? Counts{{"all_gather", 8 + 1}} : Counts{}));
  grid.collect([&](Rank& rank) { return rank.evaluate(batch); });
  CHECK(first.tensor->take() == (sequence ? Counts{{"reduce_scatter", 5}, {"all_gather", 4 + 1 + 1}}
                                          : Counts{{"all_reduce", 5}, {"all_gather", 1}}));
}

TEST_CASE("keys and values go once around the ring, and twice back with their gradients",
          "[parallel][collectives]") {
  using Counts = std::map<std::string, int>;
  const ModelConfig config = parallel_config(2, false);
  Grid grid(config, one_stage, {1, false, 4});
  const MicroBatch batch = make_batch({6, 7}, config.vocab_size, "batch");
  const Rank& first = *grid.ranks[0];
  grid.collect([&](Rank& rank) { return rank.forward(batch, scale); });
  CHECK(first.ring->take() == Counts{{"send", 2 * 3}, {"receive", 2 * 3}});
  grid.run([&](Rank& rank) { rank.backward_input(batch); });
  CHECK(first.ring->take() == Counts{{"send", 2 * (3 + 4)}, {"receive", 2 * (3 + 4)}});
  grid.run([&](Rank& rank) { rank.backward_weight(batch); });
  CHECK(first.ring->take().empty());
}

TEST_CASE("keys and values that no other rank's queries see do not travel",
          "[parallel][collectives][windows]") {
  using Counts = std::map<std::string, int>;
  const ModelConfig config = parallel_config(2, false);
  Grid whole(config, one_stage, {1, false, 2});
  // Chunks of four tokens each: no document goes on from one into another.
  whole.collect([&](Rank& rank) {
    return rank.micro_batch(make_batch({4, 4, 4, 4}, config.vocab_size, "batch"), scale);
  });
  CHECK(whole.ranks[0]->ring->take().empty());
  ModelConfig windowed = config;
  windowed.blocks = {{.window = 1}, {.window = 2}};
  Grid grid(windowed, one_stage, {1, false, 2});
  grid.collect([&](Rank& rank) { return rank.forward(make_batch({16}, config.vocab_size, "batch"), scale); });
  // Nothing in the first block. In the second, each rank sends a token's, forward and back with its gradient:
  // rank 0's first chunk is seen by rank 1, and rank 1's second by rank 0.
  CHECK(grid.ranks[0]->ring->take() == Counts{{"send", 1}, {"receive", 1}});
  grid.run([&](Rank& rank) {
    rank.backward_input(make_batch({16}, config.vocab_size, "batch"));
    rank.backward_weight(make_batch({16}, config.vocab_size, "batch"));
  });
  CHECK(grid.ranks[0]->ring->take() == Counts{{"send", 3}, {"receive", 3}});
}

TEST_CASE("keys and values that travel in the background give the bits of those that are waited for",
          "[parallel]") {
  const ModelConfig config = parallel_config(2, false);
  const GridLayout layout{1, false, GENERATE(2, 3, 4), "cpu"};
  CAPTURE(layout.context);
  Grid waiting(config, one_stage, layout), background(config, one_stage, layout);
  std::vector<std::unique_ptr<QueueDriver>> drivers;
  for (const auto& rank : background.ranks) {
    rank->ring_queue = std::make_shared<CollectiveQueue>(rank->ring, 2);
    drivers.push_back(std::make_unique<QueueDriver>(rank->ring_queue));
  }
  for (const MicroBatch& batch : awkward_batches(config)) {
    const auto train = [&](Rank& rank) { return rank.micro_batch(batch, scale); };
    CHECK(background.collect(train) == waiting.collect(train));
  }
  CHECK(background.gradients() == waiting.gradients());
}

TEST_CASE("the ring's next keys and values are on their way before the rank computes with its own",
          "[parallel]") {
  const auto account = std::make_shared<MemoryAccount>();
  const auto operations = make_cpu_operations(1, account);
  ResidentSource source({});
  const auto group = make_fake_group(1, 2);  // passes nothing on
  Tensor out = random_tensor(*operations, {8, 2, 4}, "out"), dq = random_tensor(*operations, {8, 2, 4}, "dq");
  const Tensor q = random_tensor(*operations, {8, 2, 4}, "q");
  const Tensor key_values = random_tensor(*operations, {8, 2 * 4}, "key_values");
  Tensor d_key_values = operations->empty({8, 2 * 4}, Category::workspace);
  Tensor log_sum_exp = operations->empty({8, 2}, Category::workspace);
  const std::vector<float> out_before = values(*operations, out), dq_before = values(*operations, dq);
  std::vector<bool> forward_begun, backward_begun;
  const auto queue = std::make_shared<CollectiveQueue>(group, 2, [&] {
    forward_begun.push_back(values(*operations, out) != out_before);
    backward_begun.push_back(values(*operations, dq) != dq_before);
  });
  const QueueDriver driver(queue);
  LayerContext context{*operations, source, nullptr, nullptr, queue.get()};
  const ContextSlice slice = slice_for_context(make_batch({16}, 24, "batch"), 1, 2);
  ring_attention(context, slice, q, key_values, 0.5, 0, out, log_sum_exp);
  CHECK(forward_begun == std::vector<bool>{false});
  CHECK(values(*operations, out) != out_before);
  ring_attention_backward(context, slice, q, key_values, 0.5, 0, out, log_sum_exp, q, dq, d_key_values);
  // Keys and values before anything is computed, and the gradients of either step after it.
  CHECK(backward_begun == std::vector<bool>{false, false, true, true});
}

TEST_CASE("memory: logits of the whole vocabulary are nowhere", "[parallel][memory]") {
  ModelConfig config = parallel_config(2, false);
  config.vocab_size = 8192;
  const MicroBatch batch = make_batch({300}, config.vocab_size, "batch");
  Grid grid(config, one_stage, {4, GENERATE(false, true), 1});
  const auto logits = static_cast<size_t>(256 * config.vocab_size) * sizeof(double);
  std::vector<size_t> before;
  for (const auto& rank : grid.ranks) before.push_back(rank->account->current_total());
  grid.collect([&](Rank& rank) { return rank.micro_batch(batch, scale) + rank.evaluate(batch); });
  for (size_t i = 0; i < grid.ranks.size(); ++i) {
    const size_t taken = grid.ranks[i]->account->peak_total() - before[i];
    CHECK(taken > logits / 4);  // a rank's share of a chunk
    CHECK(taken < logits / 4 + logits / 8);
  }
}

TEST_CASE("memory: with sequence parallelism all that a block keeps falls with the ranks",
          "[parallel][memory]") {
  const ModelConfig config = parallel_config(8, false);
  const MicroBatch batch = make_batch({32}, config.vocab_size, "batch");
  const auto kept = [&](int tensor, bool sequence, bool backward) {
    Grid grid(config, {{0, 2, false, false}}, {tensor, sequence, 1});
    std::vector<double> bytes = grid.collect([&](Rank& rank) {
      const int64_t held = sequence ? share_of_tokens(32, rank.shard.tensor_rank, tensor).size() : 32;
      Rank::Stage& stage = rank.stages[0];
      LayerContext context = rank.context(stage, true);
      const Tensor input = random_tensor(*rank.operations, {held, config.hidden_size}, "input");
      ActivationStash stash;
      Tensor no_loss_here;
      Tensor output = stage.model->forward(context, batch, input, 1.0, *rank.loss, no_loss_here, stash);
      if (backward) stage.model->backward_input(context, batch, output, stash);
      output = Tensor();
      return static_cast<double>(rank.account->current(Category::activations));
    });
    return bytes[0];
  };
  for (const bool backward : {false, true}) {
    CAPTURE(backward);
    CHECK(kept(4, true, backward) == kept(1, false, backward) / 4);
    CHECK(kept(4, false, backward) > kept(1, false, backward) / 4);
  }
}

TEST_CASE("a loss that needs whole logits is refused where ranks share them", "[parallel]") {
  struct Whole final : Loss {
    void chunk(Operations&, Tensor&, std::span<const int32_t>, double, Tensor&) override {}
  };
  Whole loss;
  check_loss_shards("whole", loss, 1);
  check_loss_shards("cross_entropy", *losses().find("cross_entropy")(), 4);
  check_says(message_of([&] { check_loss_shards("whole", loss, 2); }),
             {"train.loss", "'whole' needs full logits", "parallel.tp_size must be 1"});
}

TEST_CASE("a rank's groups must be those of its shard", "[parallel]") {
  const ModelConfig config = parallel_config(2, false);
  Grid grid(config, one_stage, {2, false, 1});
  Rank& rank = *grid.ranks[0];
  LayerContext alone = rank.context(rank.stages[0], false), wrong = alone;
  alone.tensor = nullptr;
  wrong.tensor = grid.ranks[1]->tensor.get();
  const MicroBatch batch = make_batch({3}, config.vocab_size, "batch");
  Tensor loss_sum = no_loss(*rank.operations);
  StageModel& model = *rank.stages[0].model;
  CHECK_THROWS_AS(model.evaluate(alone, batch, {}, *rank.loss, loss_sum), std::logic_error);
  CHECK_THROWS_AS(model.evaluate(wrong, batch, {}, *rank.loss, loss_sum), std::logic_error);
}
