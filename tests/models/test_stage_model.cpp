#include "models/stage_model.hpp"

#include "base/error.hpp"
#include "tests/catch.hpp"
#include "tests/models/messages.hpp"
#include "tests/models/stage_harness.hpp"

using namespace collie;
using namespace collie::test;

namespace {

const std::vector<StageRange> pieces = {
    {0, 0, true, false}, {0, 1, false, false}, {1, 2, false, false}, {2, 2, false, true}};

std::vector<MicroBatch> some_batches(const ModelConfig& config) {
  return {make_batch_for(config, {5, 3}, "first"), make_batch_for(config, {1, 7, 2}, "second"),
          make_batch_for(config, {6}, "third")};
}

}  // namespace

TEST_CASE("gradients of a whole model agree with finite differences", "[stage][differences]") {
  const bool tied = GENERATE(false, true), blanks = GENERATE(false, true);
  CAPTURE(tied, blanks);
  const auto owner = make_operations("reference");
  Operations& operations = *owner.operations;
  ModelConfig config = tiny_config(tied);
  if (blanks) {
    config.num_attention_heads = 2;  // of four channels
    config = as_family(config, "chatglm_6b");
  }
  Pipeline pipeline(operations, config, one_stage);
  const MicroBatch batch =
      make_batch_for(config, blanks ? std::vector<int>{7, 1, 4} : std::vector<int>{4, 1, 3}, "batch");
  const double sum = pipeline.micro_batch(batch, 1.0);
  CHECK(sum == Approx(pipeline.evaluate(batch)).epsilon(1e-14));
  Stage& stage = pipeline.stages[0];
  const auto f = [&] { return pipeline.evaluate(batch); };
  // A tied model has two tensors here, so that each use has a gradient of its own.
  for (size_t i = 0; i < stage.weights.size(); ++i) {
    INFO(stage.model->parameters()[i].name << " (" << i << ")");
    CHECK(relative_error(doubles(stage.gradients[i]), finite_differences(stage.weights[i], f), 1e-4) < 1e-6);
  }
}

TEST_CASE("a micro-batch without targets or tokens contributes zeros", "[stage]") {
  const std::string device = GENERATE(from_range(all_devices));
  const bool no_tokens = GENERATE(false, true);
  CAPTURE(device, no_tokens);
  const auto owner = make_operations(device);
  const ModelConfig config = tiny_config(true);
  Pipeline pipeline(*owner.operations, config, pieces);
  MicroBatch batch =
      make_batch(no_tokens ? std::vector<int>{} : std::vector<int>{4, 2}, config.vocab_size, "batch");
  for (int32_t& label : batch.labels) label = ignored_label;
  batch.target_tokens = 0;
  CHECK(pipeline.micro_batch(batch, 1.0) == 0.0);
  CHECK(pipeline.evaluate(batch) == 0.0);
  for (const Stage& stage : pipeline.stages)
    for (size_t i = 0; i < stage.gradients.size(); ++i) {
      INFO(stage.model->parameters()[i].name);
      const std::vector<float> gradient = values(*owner.operations, stage.gradients[i]);
      CHECK(gradient == std::vector<float>(gradient.size(), 0.0f));
      CHECK(static_cast<AccumulatingSink&>(*stage.sink).contributions(static_cast<ParameterId>(i)) == 1);
    }
}

TEST_CASE("any cut into stages gives bitwise the losses and gradients of one stage", "[stage]") {
  const std::string device = GENERATE(from_range(all_devices));
  const bool tied = GENERATE(false, true);
  CAPTURE(device, tied);
  const auto owner = make_operations(device);
  Operations& operations = *owner.operations;
  const ModelConfig config = tiny_config(tied);
  Pipeline one(operations, config, one_stage);
  Pipeline two(operations, config, two_stages), four(operations, config, pieces);
  for (const MicroBatch& batch : some_batches(config)) {
    const double loss = one.micro_batch(batch, 0.1);
    CHECK(two.micro_batch(batch, 0.1) == loss);
    CHECK(four.micro_batch(batch, 0.1) == loss);
    CHECK(one.evaluate(batch) == loss);
    CHECK(four.evaluate(batch) == loss);
  }
  CHECK(two.gradients_by_name() == one.gradients_by_name());
  CHECK(four.gradients_by_name() == one.gradients_by_name());
}

TEST_CASE("any allowed order of the backward halves gives bitwise the same gradients", "[stage]") {
  const std::string device = GENERATE(from_range(all_devices));
  CAPTURE(device);
  const auto owner = make_operations(device);
  Operations& operations = *owner.operations;
  const ModelConfig config = tiny_config();
  const std::vector<MicroBatch> batches = some_batches(config);

  Pipeline plain(operations, config, two_stages);
  for (const MicroBatch& batch : batches) plain.micro_batch(batch, 0.1);

  Pipeline late(operations, config, two_stages);  // F F F I I I W W W
  std::vector<std::vector<ActivationStash>> stashes(batches.size());
  for (size_t i = 0; i < batches.size(); ++i) late.forward(batches[i], 0.1, stashes[i]);
  for (size_t i = batches.size(); i-- > 0;) late.backward_input(batches[i], stashes[i]);
  for (size_t i = 0; i < batches.size(); ++i) late.backward_weight(batches[i], stashes[i]);
  CHECK(late.gradients_by_name() == plain.gradients_by_name());

  Pipeline mixed(operations, config, two_stages);  // F0 F1 I0 F2 I1 W0 I2 W1 W2
  mixed.forward(batches[0], 0.1, stashes[0]);
  mixed.forward(batches[1], 0.1, stashes[1]);
  mixed.backward_input(batches[0], stashes[0]);
  mixed.forward(batches[2], 0.1, stashes[2]);
  mixed.backward_input(batches[1], stashes[1]);
  mixed.backward_weight(batches[0], stashes[0]);
  mixed.backward_input(batches[2], stashes[2]);
  mixed.backward_weight(batches[1], stashes[1]);
  mixed.backward_weight(batches[2], stashes[2]);
  CHECK(mixed.gradients_by_name() == plain.gradients_by_name());
}

TEST_CASE("activations that are computed again change no bit of losses and gradients", "[stage][recompute]") {
  const std::string device = GENERATE(from_range(all_devices));
  const Recompute recompute = GENERATE(Recompute::selective, Recompute::full);
  const bool cut = GENERATE(false, true), apart = GENERATE(false, true), blanks = GENERATE(false, true);
  CAPTURE(device, recompute, cut, apart, blanks);
  const auto owner = make_operations(device);
  Operations& operations = *owner.operations;
  ModelConfig config = tiny_config();
  config.hidden_size = 16;
  if (blanks) config = as_family(config, "chatglm_6b");
  Pipeline keeping(operations, config, one_stage),
      saving(operations, config, cut ? pieces : one_stage, {recompute});
  for (const MicroBatch& batch : some_batches(config)) {
    const double loss = keeping.micro_batch(batch, 0.1);
    std::vector<ActivationStash> stashes;
    CHECK(saving.forward(batch, 0.1, stashes) == loss);
    if (apart) {
      saving.backward_input(batch, stashes);
      saving.backward_weight(batch, stashes);
    } else {
      saving.backward(batch, stashes);
    }
    CHECK(saving.evaluate(batch) == loss);
  }
  CHECK(saving.gradients_by_name() == keeping.gradients_by_name());
}

TEST_CASE("a new step overwrites the gradients of the last", "[stage]") {
  const auto owner = make_operations("reference");
  const ModelConfig config = tiny_config(true);
  const std::vector<MicroBatch> batches = some_batches(config);
  Pipeline pipeline(*owner.operations, config, one_stage), fresh(*owner.operations, config, one_stage);
  pipeline.micro_batch(batches[0], 0.1);
  pipeline.start_step();
  pipeline.micro_batch(batches[1], 0.1);
  fresh.micro_batch(batches[1], 0.1);
  CHECK(pipeline.gradients_by_name() == fresh.gradients_by_name());
}

TEST_CASE("packed documents do not see each other", "[stage]") {
  const auto owner = make_operations("reference");
  const ModelConfig config = tiny_config();
  Pipeline pipeline(*owner.operations, config, two_stages);
  const MicroBatch packed = make_batch({5, 1, 3}, config.vocab_size, "batch");
  double apart = 0;
  for (size_t s = 0; s + 1 < packed.document_starts.size(); ++s) {
    const auto begin = packed.document_starts[s], end = packed.document_starts[s + 1];
    MicroBatch alone;
    alone.tokens.assign(packed.tokens.begin() + begin, packed.tokens.begin() + end);
    alone.labels.assign(packed.labels.begin() + begin, packed.labels.begin() + end);
    alone.positions.assign(packed.positions.begin() + begin, packed.positions.begin() + end);
    alone.document_starts = {0, end - begin};
    apart += pipeline.evaluate(alone);
  }
  CHECK(pipeline.evaluate(packed) == Approx(apart).epsilon(1e-13));
}

TEST_CASE("memory: a stash is freed bit by bit and nothing is left after the weight gradients",
          "[stage][memory]") {
  const auto owner = make_operations("reference");
  Operations& operations = *owner.operations;
  const ModelConfig config = tiny_config();
  Pipeline pipeline(operations, config, one_stage);
  const MemoryAccount& account = *operations.account();
  const auto activations = [&] { return account.current(Category::activations); };
  const size_t workspace = account.current(Category::workspace);  // the rotary tables
  const MicroBatch batch = make_batch({5, 3}, config.vocab_size, "batch");
  std::vector<ActivationStash> stashes;
  pipeline.forward(batch, 1.0, stashes);
  // Bytes a token: see BlockStash and HeadStash, whose input is no block's.
  const size_t hidden = 8, width = 10, qkv = (4 + 2 * 2) * 4, q = 4 * 4, heads = 4;
  const size_t block = 4 * hidden + 2 + qkv + heads + q + 3 * width;
  CHECK(activations() == batch.tokens.size() * (2 * block + 2 * hidden + 1) * sizeof(double));
  CHECK(account.current(Category::workspace) == workspace);
  pipeline.backward_input(batch, stashes);
  // Of a block: both norms' inputs, outputs and their gradients, d(output), d(middle); attended, d(qkv);
  // activated, d(gate), d(up). One block's d(input) is the next one's d(output).
  const size_t block_after = 8 * hidden + 2 + q + qkv + 3 * width;
  CHECK(activations() == batch.tokens.size() * (2 * block_after + 2 * hidden + 1 + hidden) * sizeof(double));
  CHECK(account.current(Category::workspace) == workspace);
  pipeline.backward_weight(batch, stashes);
  CHECK(activations() == 0);
  CHECK(account.current(Category::workspace) == workspace);

  pipeline.forward(batch, 1.0, stashes);
  stashes.clear();  // dropping an unfinished stash frees it
  CHECK(activations() == 0);
  pipeline.evaluate(batch);
  CHECK(activations() == 0);
  CHECK(account.current(Category::workspace) == workspace);
}

TEST_CASE("memory: what is computed again is not kept", "[stage][memory][recompute]") {
  const auto owner = make_operations("reference");
  Operations& operations = *owner.operations;
  const MemoryAccount& account = *operations.account();
  const ModelConfig config = tiny_config();
  const MicroBatch batch = make_batch({5, 3}, config.vocab_size, "batch");
  const size_t hidden = 8, width = 10, qkv = (4 + 2 * 2) * 4, q = 4 * 4, heads = 4;
  // Activations after the forward, in elements a token: two blocks, and what the head keeps.
  const auto kept = [&](Recompute recompute) {
    Pipeline pipeline(operations, config, one_stage, {recompute});
    std::vector<ActivationStash> stashes;
    pipeline.forward(batch, 1.0, stashes);
    const size_t bytes = account.current(Category::activations);
    pipeline.backward(batch, stashes);
    CHECK(account.current(Category::activations) == 0);
    return bytes / sizeof(double) / batch.tokens.size() - (2 * hidden + 1);
  };
  CHECK(kept(Recompute::none) == 2 * (4 * hidden + 2 + qkv + heads + q + 3 * width));
  CHECK(kept(Recompute::selective) == 2 * (2 * hidden + 2 + qkv + heads + q + 2 * width));
  CHECK(kept(Recompute::full) == 2 * hidden);
}

TEST_CASE("memory: evaluation's workspace does not grow with the number of blocks", "[stage][memory]") {
  const auto peak = [](int64_t blocks) {
    const auto owner = make_operations("reference");
    ModelConfig config = tiny_config();
    config.num_hidden_layers = blocks;
    Pipeline pipeline(*owner.operations, config, {{0, blocks, true, true}});
    pipeline.evaluate(make_batch({20}, config.vocab_size, "batch"));
    CHECK(owner.operations->account()->peak(Category::activations) == 0);
    return owner.operations->account()->peak(Category::workspace) -
           owner.operations->account()->current(Category::workspace);
  };
  const size_t of_two = peak(2);
  CHECK(peak(6) == of_two);
}

TEST_CASE("decoding with a cache gives the logits of the whole sequence", "[stage][decode]") {
  const std::string device = GENERATE(from_range(all_devices));
  const bool cut = GENERATE(false, true);
  CAPTURE(device, cut);
  const auto owner = make_operations(device);
  Operations& operations = *owner.operations;
  const ModelConfig config = tiny_config();
  Pipeline pipeline(operations, config, cut ? two_stages : one_stage);
  const MicroBatch all = make_batch({9}, config.vocab_size, "prompt");
  // `sizes`: how many tokens each call appends. Returns the logits after each.
  const auto decode = [&](const std::vector<int>& sizes) {
    std::vector<KeyValueCache> caches(pipeline.stages.size());
    for (size_t i = 0; i < caches.size(); ++i)
      pipeline.stages[i].model->start_sequence(operations, caches[i], 0, 9);
    std::vector<std::vector<float>> logits;
    int begin = 0;
    for (const int size : sizes) {
      MicroBatch batch;
      batch.tokens.assign(all.tokens.begin() + begin, all.tokens.begin() + begin + size);
      batch.positions.assign(all.positions.begin() + begin, all.positions.begin() + begin + size);
      batch.document_starts = {0, size};
      begin += size;
      Tensor x;
      for (size_t i = 0; i < pipeline.stages.size(); ++i) {
        LayerContext at{operations, *pipeline.stages[i].source, nullptr};
        x = pipeline.stages[i].model->decode(at, batch, x, caches[i], {0});
      }
      REQUIRE(x.shape() == Shape{1, config.vocab_size});
      logits.push_back(values(operations, x));
    }
    return logits;
  };
  const auto at_once = decode({9}), one_by_one = decode({1, 1, 1, 1, 1, 1, 1, 1, 1}),
             prompt_first = decode({5, 1, 3});
  CHECK(relative_error(one_by_one.back(), at_once.back()) < 1e-5);
  CHECK(relative_error(prompt_first.back(), at_once.back()) < 1e-5);
  CHECK(relative_error(prompt_first.front(), one_by_one[4]) < 1e-5);
  // The loss of the last label from these logits is that of evaluate().
  MicroBatch last = all;
  for (int32_t& label : last.labels) label = ignored_label;
  last.labels.back() = 3;
  double sum = 0;
  for (const float logit : at_once.back()) sum += std::exp(static_cast<double>(logit));
  CHECK(pipeline.evaluate(last) ==
        Approx(std::log(sum) - static_cast<double>(at_once.back()[3])).epsilon(1e-5));
}

TEST_CASE("a full cache is not overrun", "[stage][decode]") {
  const auto owner = make_operations("reference");
  const ModelConfig config = tiny_config();
  Pipeline pipeline(*owner.operations, config, one_stage);
  KeyValueCache cache;
  StageModel& model = *pipeline.stages[0].model;
  model.start_sequence(*owner.operations, cache, 0, 3);
  LayerContext context = pipeline.context(0);
  const MicroBatch batch = make_batch({2}, config.vocab_size, "prompt");
  model.decode(context, batch, {}, cache, {0});
  CHECK_THROWS_AS(model.decode(context, batch, {}, cache, {0}), std::logic_error);
}

TEST_CASE("a cache knows its sequences, and has an end to them", "[stage][decode]") {
  const auto owner = make_operations("reference");
  Pipeline pipeline(*owner.operations, tiny_config(), one_stage);
  StageModel& model = *pipeline.stages[0].model;
  LayerContext context = pipeline.context(0);
  const MicroBatch one = make_batch({2}, 11, "one"), two = make_batch({2, 1}, 11, "two");
  KeyValueCache cache;
  model.start_sequence(*owner.operations, cache, 7, 3);
  CHECK_THROWS_AS(model.start_sequence(*owner.operations, cache, 7, 3), std::logic_error);
  CHECK_THROWS_AS(model.decode(context, one, {}, cache, {0}), std::logic_error);
  CHECK_THROWS_AS(model.decode(context, two, {}, cache, {7}), std::logic_error);
  CHECK_THROWS_AS(model.decode(context, two, {}, cache, {7, 7}), std::logic_error);
  cache.end(7);
  CHECK_THROWS_AS(cache.end(7), std::logic_error);
  for (size_t i = 0; i < KeyValueCache::max_sequences; ++i)
    model.start_sequence(*owner.operations, cache, static_cast<int64_t>(i), 1);
  CHECK_THROWS_AS(model.start_sequence(*owner.operations, cache, 1000, 1), std::logic_error);
}

TEST_CASE("tokens, labels and positions that the model has not are refused by number", "[stage]") {
  const auto owner = make_operations("reference");
  const ModelConfig config = tiny_config();
  Pipeline pipeline(*owner.operations, config, one_stage);
  const MicroBatch good = make_batch({4}, config.vocab_size, "batch");
  MicroBatch token = good, label = good, position = good;
  token.tokens[2] = 11;
  label.labels[2] = 12;
  position.positions[2] = 64;
  const auto refusal = [&](const MicroBatch& batch) {
    return message_of<RunError>([&] { pipeline.evaluate(batch); });
  };
  check_says(refusal(token), {"token id 11", "vocabulary of 11"});
  check_says(refusal(label), {"label 12", "vocabulary of 11"});
  check_says(refusal(position), {"position 64", "max_position_embeddings of 64"});
}

TEST_CASE("a stage's range must fit the model", "[stage]") {
  const auto owner = make_operations("reference");
  const ModelConfig config = tiny_config();
  const std::vector<StageRange> bad = {{0, 3, true, true},  {-1, 1, false, false}, {1, 0, false, false},
                                       {1, 2, true, false}, {0, 1, false, true},   {1, 1, false, false}};
  for (const StageRange& range : bad)
    CHECK_THROWS_AS(make_stage_model(config, range, *owner.operations), UserError);
}

TEST_CASE("stages list the parameters of the model in its order", "[stage][parameters]") {
  const bool tied = GENERATE(false, true);
  const auto owner = make_operations("reference");
  const ModelConfig config = tiny_config(tied);
  std::vector<std::string> names, copies;
  for (const StageRange& range : pieces) {
    const auto model = make_stage_model(config, range, *owner.operations);
    for (const Parameter& parameter : model->parameters())
      (parameter.tied_copy ? copies : names).push_back(parameter.name);
  }
  std::vector<std::string> expected;
  int64_t count = 0;
  for (const Parameter& parameter : model_parameters(config)) {
    expected.push_back(parameter.name);
    count += parameter.shape.numel();
  }
  CHECK(names == expected);
  CHECK(copies ==
        (tied ? std::vector<std::string>{"model.embed_tokens.weight"} : std::vector<std::string>{}));
  CHECK(parameter_count(config) == count);
  CHECK(expected.front() == "model.embed_tokens.weight");
  CHECK(expected[1] == "model.layers.0.self_attn.q_proj.weight");
  CHECK(expected[2] == "model.layers.0.self_attn.q_proj.bias");
  CHECK(expected.back() == (tied ? "model.norm.weight" : "lm_head.weight"));
}

TEST_CASE("the number of threads changes no bit of losses and gradients", "[stage]") {
  ModelConfig config = tiny_config(true);
  config.hidden_size = 72;
  config.intermediate_size = 200;
  config.head_dim = 18;
  config.vocab_size = 301;
  config.max_position_embeddings = 256;
  const MicroBatch batch = make_batch({200, 3, 140}, config.vocab_size, "batch");
  const auto run = [&](int threads) {
    const auto operations = make_cpu_operations(threads, std::make_shared<MemoryAccount>());
    Pipeline pipeline(*operations, config, two_stages);
    const double loss = pipeline.micro_batch(batch, 0.01);
    return std::pair(loss, pipeline.gradients_by_name());
  };
  const auto one = run(1);
  CHECK(run(2) == one);
  CHECK(run(5) == one);
}

TEST_CASE("no layer reads memory before it is written", "[stage][memory]") {
  const std::string device = GENERATE(from_range(all_devices));
  CAPTURE(device);
  const ModelConfig config = tiny_config(true);
  const auto run = [&](bool poison) {
    const auto owner = make_operations(device);
    Pipeline pipeline(*owner.operations, config, two_stages);
    set_poison(poison);
    double loss = 0;
    for (const MicroBatch& batch : some_batches(config))
      loss += pipeline.micro_batch(batch, 0.1) + pipeline.evaluate(batch);
    set_poison(false);
    return std::pair(loss, pipeline.gradients_by_name());
  };
  CHECK(run(true) == run(false));
}
