// Every layer's gradients against finite differences, in double, on the reference operations.
#include "models/block.hpp"
#include "models/embedding.hpp"
#include "models/head.hpp"
#include "models/parameter_list.hpp"
#include "models/prompt_encoder.hpp"
#include "tests/catch.hpp"
#include "tests/models/support.hpp"

using namespace collie;
using namespace collie::test;

namespace {

constexpr double layer_tolerance = 1e-7;

// A layer's parameters with weights and gradients, and the contexts to use them in.
struct Bench {
  NamedOperations owner = make_operations("reference");
  Operations& operations = *owner.operations;
  std::vector<Parameter> parameters;
  std::vector<Tensor> weights, gradients;
  std::unique_ptr<ResidentSource> source;
  std::unique_ptr<AccumulatingSink> sink;

  void fill() {
    weights = random_weights(operations, parameters);
    gradients = like(operations, parameters, NAN);
    source = std::make_unique<ResidentSource>(weights);
    sink = std::make_unique<AccumulatingSink>(gradients);
  }
  LayerContext context() { return {operations, *source, sink.get()}; }
  LayerContext quiet() { return {operations, *source, nullptr}; }

  Tensor random(const Shape& shape, const std::string& purpose) {
    return random_tensor(operations, shape, purpose);
  }
  Tensor empty(const Shape& shape) { return operations.empty(shape, Category::workspace); }

  // Each parameter's gradient, which has been computed, against differences of f.
  void check_weights(const std::function<double()>& f) {
    for (size_t i = 0; i < parameters.size(); ++i) {
      INFO("parameter " << parameters[i].name << " (" << i << ")");
      CHECK(relative_error(doubles(gradients[i]), finite_differences(weights[i], f), 1e-4) < layer_tolerance);
    }
  }
};

TokenLayout layout_of(const MicroBatch& batch) {
  return {{batch.document_starts, batch.document_starts}, batch.positions};
}

const std::vector<int> packed = {3, 1, 4};  // documents of a micro-batch

}  // namespace

TEST_CASE("gradients of the linear layers agree with finite differences", "[layers][differences]") {
  Bench bench;
  bench.parameters = {{"weight", {7, 5}}, {"bias", {7}}};
  bench.fill();
  const auto linear = make_dense_linear({0, 1});
  LinearStash stash;
  Tensor x = bench.random({6, 5}, "x"), y = bench.empty({6, 7}), dx = bench.empty({6, 5});
  const Tensor dy = bench.random({6, 7}, "dy");
  LayerContext context = bench.context();
  const auto f = [&] {
    linear->forward(context, x, y, nullptr);
    return weighted_sum(y, dy);
  };
  linear->backward_input(context, dy, dx, false, stash);
  linear->backward_weight(context, x, dy, stash);
  CHECK(relative_error(doubles(dx), finite_differences(x, f)) < layer_tolerance);
  bench.check_weights(f);
}

TEST_CASE("gradients of every norm agree with finite differences", "[layers][differences]") {
  const auto kind = GENERATE(NormKind::rms, NormKind::layer);
  const double offset = kind == NormKind::rms ? GENERATE(0.0, 1.0) : 0.0;
  CAPTURE(static_cast<int>(kind), offset);
  Bench bench;
  bench.parameters = {{"norm", {8}, Initialisation::ones}, {"shift", {8}}};
  bench.fill();
  const bool bias = kind == NormKind::layer;
  if (!bias) bench.parameters.pop_back();
  const Norm norm({0, bias ? 1 : no_parameter}, {kind, 1e-5, offset, bias});
  Tensor x = bench.random({6, 8}, "x"), y = bench.empty({6, 8}), dx = bench.empty({6, 8});
  Tensor statistics = norm.empty_statistics(bench.operations, 6, Category::workspace);
  const Tensor dy = bench.random({6, 8}, "dy");
  LayerContext context = bench.context();
  const auto f = [&] {
    ResidualStream stream{x, {}};
    norm.forward(context, stream, y, statistics);
    return weighted_sum(y, dy);
  };
  f();
  norm.backward_input(context, dy, x, statistics, {}, dx);
  norm.backward_weight(context, dy, x, statistics);
  CHECK(relative_error(doubles(dx), finite_differences(x, f)) < layer_tolerance);
  bench.check_weights(f);
}

TEST_CASE("gradients of the embedding agree with finite differences", "[layers][differences]") {
  Bench bench;
  const bool positions = GENERATE(false, true), prompt = GENERATE(false, true);
  bench.parameters = {{"table", {5, 8}}};  // fewer rows than tokens, so that ids repeat
  EmbeddingIds ids;
  ids.tokens = 0;
  const auto add = [&](const char* name, int64_t rows) {
    bench.parameters.push_back({name, {rows, 8}});
    return static_cast<ParameterId>(bench.parameters.size()) - 1;
  };
  if (positions) ids.positions = add("positions", 12);
  if (prompt) ids.prompt.rows = add("prompt", 2);
  bench.fill();
  const double scale = GENERATE(1.0, 3.0);
  const Embedding embedding(ids, 5, scale);
  const SoftPrompt rows{prompt ? PromptKind::embeddings : PromptKind::none, prompt ? 2 : 0};
  const MicroBatch batch = with_prompt(make_batch({5, 4}, 5, "tokens"), rows, 5);
  const auto tokens = static_cast<int64_t>(batch.tokens.size());
  Tensor y = bench.empty({tokens, 8});
  const Tensor dy = bench.random({tokens, 8}, "dy");
  LayerContext context = bench.context();
  Tensor given = bench.empty({tokens, 8});
  bench.operations.copy(dy, given);
  embedding.backward_weight(context, batch, given);
  bench.check_weights([&] {
    embedding.forward(context, batch, y);
    return weighted_sum(y, dy);
  });
}

TEST_CASE("a token that is neither in the vocabulary nor virtual is refused", "[layers]") {
  Bench bench;
  bench.parameters = {{"table", {5, 8}}, {"prompt", {2, 8}}};
  bench.fill();
  EmbeddingIds ids;
  ids.tokens = 0;
  ids.prompt.rows = 1;
  const Embedding embedding(ids, 5);
  MicroBatch batch = with_prompt(make_batch({3}, 5, "tokens"), {PromptKind::embeddings, 2}, 5);
  Tensor y = bench.empty({5, 8});
  LayerContext context = bench.context();
  CHECK_NOTHROW(embedding.forward(context, batch, y));
  batch.tokens.front() = 7;
  CHECK_THROWS_AS(embedding.forward(context, batch, y), RunError);
}

TEST_CASE("gradients of the encoders of virtual tokens agree with finite differences",
          "[layers][differences][prompt]") {
  const EncoderSettings settings =
      GENERATE(EncoderSettings{EncoderKind::mlp, 3}, EncoderSettings{EncoderKind::lstm, 2, 1},
               EncoderSettings{EncoderKind::lstm, 3, 2, 0.5}, EncoderSettings{EncoderKind::projection, 3});
  const int64_t tokens = GENERATE(1, 4);
  CAPTURE(static_cast<int>(settings.kind), settings.layers, tokens);
  ModelSpec model(tiny_config());
  model.prompt.kind = settings.kind == EncoderKind::projection ? PromptKind::prefix : PromptKind::embeddings;
  model.prompt.tokens = tokens;
  model.prompt.encoder = settings;
  Bench bench;
  const PromptIds ids = add_embedding(model, bench.parameters).prompt;
  bench.fill();
  const PromptEncoder encoder(ids, settings);
  const Tensor dy = bench.random({tokens, ids.widths.back()}, "dy");
  LayerContext context = bench.context();
  context.dropout = DropoutDraw{5, 6};
  PromptStash stash;
  encoder.forward(context, stash);
  encoder.backward_input(context, dy, stash);
  encoder.backward_weight(context, stash);
  for (size_t i = 0; i < bench.parameters.size(); ++i) {
    if (!bench.parameters[i].is_adapter) continue;
    INFO(bench.parameters[i].name);
    const std::vector<double> differences = finite_differences(bench.weights[i], [&] {
      PromptStash passing;
      return weighted_sum(encoder.forward(context, passing), dy);
    });
    CHECK(relative_error(doubles(bench.gradients[i]), differences, 1e-4) < layer_tolerance);
  }
}

TEST_CASE("gradients of attention with a prefix agree with finite differences",
          "[layers][differences][prompt]") {
  Bench bench;
  ModelSpec model(tiny_config());
  model.prompt = {PromptKind::prefix, 3};
  const BlockIds ids = add_block(model, 0, bench.parameters);
  bench.fill();
  const Attention attention(model.architecture, 0, ids,
                            make_rotary_tables(model.architecture, bench.operations), make_dense_linear);
  const MicroBatch batch =
      with_prompt(make_batch(packed, model.architecture.vocab_size, "tokens"), model.prompt, 11);
  const TokenLayout layout = layout_of(batch);
  Tensor x = bench.random({8, 8}, "x"), y = bench.empty({8, 8}), dx = bench.empty({8, 8});
  const Tensor dy = bench.random({8, 8}, "dy");
  LayerContext context = bench.context();
  AttentionStash stash;
  attention.forward(context, layout, x, y, &stash);
  attention.backward_input(context, layout, dy, dx, stash);
  attention.backward_weight(context, x, dy, stash);
  const auto f = [&] {
    attention.forward(context, layout, x, y, nullptr);
    return weighted_sum(y, dy);
  };
  CHECK(relative_error(doubles(dx), finite_differences(x, f)) < layer_tolerance);
  for (const ParameterId id : {ids.k.weight, ids.prefix.id}) {
    const auto i = static_cast<size_t>(id);
    INFO(bench.parameters[i].name);
    CHECK(relative_error(doubles(bench.gradients[i]), finite_differences(bench.weights[i], f), 1e-4) <
          layer_tolerance);
  }
}

TEST_CASE("gradients of attention agree with finite differences", "[layers][differences]") {
  Bench bench;
  const ModelConfig config = tiny_config();
  const BlockIds ids = add_block(config, 0, bench.parameters);
  bench.fill();
  const Attention attention(config, 0, ids, make_rotary_tables(config, bench.operations), make_dense_linear);
  const MicroBatch batch = make_batch(packed, config.vocab_size, "tokens");
  const TokenLayout layout = layout_of(batch);
  Tensor x = bench.random({8, 8}, "x"), y = bench.empty({8, 8}), dx = bench.empty({8, 8});
  const Tensor dy = bench.random({8, 8}, "dy");
  LayerContext context = bench.context();
  AttentionStash stash;
  attention.forward(context, layout, x, y, &stash);
  attention.backward_input(context, layout, dy, dx, stash);
  CHECK_FALSE(stash.qkv.defined());
  CHECK_FALSE(stash.log_sum_exp.defined());
  attention.backward_weight(context, x, dy, stash);
  const auto f = [&] {
    attention.forward(context, layout, x, y, nullptr);
    return weighted_sum(y, dy);
  };
  CHECK(relative_error(doubles(dx), finite_differences(x, f)) < layer_tolerance);
  for (const MatrixIds& matrix : {ids.q, ids.k, ids.v, ids.o})
    for (const ParameterId id : {matrix.weight, matrix.bias}) {
      const auto i = static_cast<size_t>(id);
      INFO(bench.parameters[i].name);
      CHECK(relative_error(doubles(bench.gradients[i]), finite_differences(bench.weights[i], f), 1e-4) <
            layer_tolerance);
    }
}

TEST_CASE("gradients of the MLP agree with finite differences", "[layers][differences]") {
  Bench bench;
  const ModelConfig config = tiny_config();
  const BlockIds ids = add_block(config, 0, bench.parameters);
  bench.fill();
  const Mlp mlp(config, ids, make_dense_linear);
  const TokenLayout layout;
  Tensor x = bench.random({6, 8}, "x"), y = bench.empty({6, 8}), dx = bench.empty({6, 8});
  const Tensor dy = bench.random({6, 8}, "dy");
  LayerContext context = bench.context();
  MlpStash stash;
  mlp.forward(context, layout, x, y, &stash);
  mlp.backward_input(context, layout, dy, dx, stash);
  CHECK_FALSE(stash.wide.defined());
  mlp.backward_weight(context, x, dy, stash);
  const auto f = [&] {
    mlp.forward(context, layout, x, y, nullptr);
    return weighted_sum(y, dy);
  };
  CHECK(relative_error(doubles(dx), finite_differences(x, f)) < layer_tolerance);
  for (const MatrixIds& matrix : {ids.gate, ids.up, ids.down})
    for (const ParameterId id : {matrix.weight, matrix.bias}) {
      const auto i = static_cast<size_t>(id);
      INFO(bench.parameters[i].name);
      CHECK(relative_error(doubles(bench.gradients[i]), finite_differences(bench.weights[i], f), 1e-4) <
            layer_tolerance);
    }
}

namespace {

// The gradients of a block's input and weights, on packed documents. rows: the tokens' numbers, for dropout.
void check_block(Bench& bench, const DecoderBlock& block, LayerContext context,
                 std::span<const uint64_t> rows = {}) {
  const MicroBatch batch = make_batch(packed, tiny_config().vocab_size, "tokens");
  TokenLayout layout = layout_of(batch);
  layout.rows = rows;
  Tensor x = bench.random({8, 8}, "x");
  const Tensor dy = bench.random({8, 8}, "dy");
  BlockStash stash;
  block.forward(context, layout, {x, {}}, &stash);
  const Tensor dx = block.backward_input(context, layout, dy, stash);
  block.backward_weight(context, stash);
  const auto f = [&] {
    return weighted_sum(block.forward(context, layout, {x, {}}, nullptr).sum(context.operations), dy);
  };
  CHECK(relative_error(doubles(dx), finite_differences(x, f)) < layer_tolerance);
  bench.check_weights(f);
}

}  // namespace

TEST_CASE("gradients of a whole block agree with finite differences", "[layers][differences]") {
  const int kv_heads = GENERATE(1, 2, 4);
  const bool bias = GENERATE(false, true);
  CAPTURE(kv_heads, bias);
  Bench bench;
  ModelConfig config = tiny_config();
  config.num_key_value_heads = kv_heads;
  config.qkv_bias = config.output_bias = config.mlp_bias = bias;
  const BlockIds ids = add_block(config, 0, bench.parameters);
  bench.fill();
  const DecoderBlock block(config, 0, ids, make_rotary_tables(config, bench.operations), make_dense_linear);
  check_block(bench, block, bench.context());
}

namespace {

// Every order of the residual stream that the parts can be put in.
struct Order {
  const char* name;
  bool parallel, norms, output_norms;
  bool head_norms = false;
};

}  // namespace

TEST_CASE("gradients of blocks in every residual order agree with finite differences",
          "[layers][differences]") {
  const auto order = GENERATE(
      Order{"side by side", true, true, false}, Order{"norms of outputs only", false, false, true},
      Order{"norms of inputs and outputs", false, true, true},
      Order{"side by side, all norms", true, true, true}, Order{"norms of heads", false, true, false, true});
  const auto recompute = GENERATE(Recompute::none, Recompute::selective, Recompute::full);
  CAPTURE(order.name, static_cast<int>(recompute));
  Bench bench;
  ModelConfig config = tiny_config();
  config.parallel_branches = order.parallel;
  config.query_key_norm = order.head_norms;
  BlockIds ids = add_block(config, 0, bench.parameters);
  if (!order.norms) {
    bench.parameters.resize(bench.parameters.size() - 2);
    ids.attention_norm = ids.mlp_norm = {};
  }
  const ModelSpec model(config);
  const ModelShard whole;
  LayerParameters layer(model, whole, 0, bench.parameters);
  if (order.output_norms) {
    ids.attention_output_norm = layer.add_norm("output_norm_1");
    ids.mlp_output_norm = layer.add_norm("output_norm_2");
  }
  bench.fill();
  const DecoderBlock block(config, 0, ids, make_rotary_tables(config, bench.operations), make_dense_linear,
                           recompute);
  check_block(bench, block, bench.context());
}

TEST_CASE("gradients through dropout agree with finite differences, and the masks are drawn anew each step",
          "[layers][differences][dropout]") {
  const auto recompute = GENERATE(Recompute::none, Recompute::selective, Recompute::full);
  const bool output_norms = GENERATE(false, true);
  CAPTURE(static_cast<int>(recompute), output_norms);
  Bench bench;
  ModelConfig config = tiny_config();
  config.dropout = {0, 0.25, 0.3};
  config.blocks = {{.soft_cap = 2}};
  BlockIds ids = add_block(config, 0, bench.parameters);
  const ModelSpec model(config);
  const ModelShard whole;
  LayerParameters layer(model, whole, 0, bench.parameters);
  if (output_norms) {
    ids.attention_output_norm = layer.add_norm("output_norm_1");
    ids.mlp_output_norm = layer.add_norm("output_norm_2");
  }
  bench.fill();
  const DecoderBlock block(config, 0, ids, make_rotary_tables(config, bench.operations), make_dense_linear,
                           recompute);
  const MicroBatch batch = make_batch(packed, config.vocab_size, "tokens");
  const std::vector<uint64_t> rows = {90, 91, 92, 5, 40, 41, 42, 43};
  TokenLayout layout = layout_of(batch);
  layout.rows = rows;
  Tensor x = bench.random({8, 8}, "x");
  LayerContext context = bench.context();
  context.dropout = DropoutDraw{1, 1};
  const auto output = [&] {
    return doubles(block.forward(context, layout, {x, {}}, nullptr).sum(context.operations));
  };
  check_block(bench, block, context, rows);
  const std::vector<double> first = output();
  context.dropout->step = 2;
  const std::vector<double> second = output();
  CHECK(first != second);
  context.dropout = DropoutDraw{2, 1};
  CHECK(first != output());
  context.dropout.reset();
  CHECK(first != output());
}

TEST_CASE("a block whose input's gradient nobody wants gives its weights' gradients all the same",
          "[layers][differences]") {
  const bool norm_trained = GENERATE(false, true);
  CAPTURE(norm_trained);
  Bench bench;
  const ModelConfig config = tiny_config();
  BlockIds ids = add_block(config, 0, bench.parameters);
  ids.attention_norm.trained = norm_trained;
  bench.fill();
  const DecoderBlock block(config, 0, ids, make_rotary_tables(config, bench.operations), make_dense_linear);
  const MicroBatch batch = make_batch(packed, config.vocab_size, "tokens");
  const TokenLayout layout = layout_of(batch);
  const Tensor x = bench.random({8, 8}, "x"), dy = bench.random({8, 8}, "dy");
  LayerContext context = bench.context();
  const auto gradients = [&](bool wanted) {
    bench.sink->start_step();
    for (Tensor& gradient : bench.gradients) bench.operations.fill(gradient, NAN);
    BlockStash stash;
    block.forward(context, layout, {x, {}}, &stash);
    CHECK(block.backward_input(context, layout, dy, stash, wanted).defined() == wanted);
    block.backward_weight(context, stash);
    std::vector<std::vector<double>> all;
    for (size_t i = 0; i < bench.gradients.size(); ++i)
      if (norm_trained || static_cast<ParameterId>(i) != ids.attention_norm.weight)
        all.push_back(doubles(bench.gradients[i]));
    return all;
  };
  CHECK(gradients(false) == gradients(true));
}

static double evaluated(const Head& head, LayerContext& context, const MicroBatch& batch, const Tensor& x,
                        Loss& loss) {
  Tensor loss_sum = no_loss(context.operations);
  head.evaluate(context, batch, x, loss, loss_sum);
  return context.operations.read(loss_sum).value().front();
}

TEST_CASE("gradients of the head agree with finite differences, over several chunks",
          "[layers][differences]") {
  Bench bench;
  ModelConfig config = tiny_config();
  config.head_bias = GENERATE(false, true);
  config.logit_soft_cap = GENERATE(0.0, 0.7);
  CAPTURE(config.head_bias, config.logit_soft_cap);
  const NormIds norm = add_final_norm(config, bench.parameters);
  const MatrixIds matrix = add_head(config, bench.parameters);
  bench.fill();
  const Head head(Norm(norm, config.norm), make_dense_linear(matrix), config.vocab_size,
                  config.logit_soft_cap);
  const int tokens = GENERATE(3, 2 * 256 + 9);
  MicroBatch batch = make_batch({tokens}, config.vocab_size, "tokens");
  batch.labels[1] = ignored_label;
  batch.labels.back() = ignored_label;
  Tensor x = bench.random({tokens, 8}, "x");
  const double scale = 0.25;
  const auto loss = losses().find("cross_entropy")();
  LayerContext context = bench.context(), quiet = bench.quiet();
  HeadStash stash;
  Tensor loss_sum = no_loss(bench.operations);
  head.forward(context, batch, {x, {}}, scale, *loss, loss_sum, stash);
  const double sum = bench.operations.read(loss_sum).value().front();
  CHECK(bench.sink->contributions(matrix.weight) == 1);  // opened once, whatever the chunks
  CHECK(bench.sink->contributions(norm.weight) == 0);
  const Tensor dx = head.backward_input(context, stash);
  head.backward_weight(context, stash);
  CHECK(bench.sink->contributions(norm.weight) == 1);
  const auto f = [&] { return scale * evaluated(head, quiet, batch, x, *loss); };
  CHECK(scale * sum == Approx(f()).epsilon(1e-14));
  if (tokens < 10) CHECK(relative_error(doubles(dx), finite_differences(x, f)) < layer_tolerance);
  bench.check_weights(f);
}

TEST_CASE("a custom loss sees chunks of logits in token order and its gradient reaches the weights",
          "[layers]") {
  struct SumOfLogits final : Loss {  // d(loss)/d(logits) = 1
    std::vector<int64_t> chunks;
    void chunk(Operations& operations, Tensor& logits, std::span<const int32_t> labels, double scale,
               Tensor& loss_sum) override {
      REQUIRE(logits.dim(0) == static_cast<int64_t>(labels.size()));
      chunks.push_back(logits.dim(0));
      double sum = 0;
      for (const double logit : doubles(logits)) sum += logit;
      operations.fill(logits, scale);
      *loss_sum.data<double>() += sum;
    }
  };
  Bench bench;
  const ModelConfig config = tiny_config();
  const NormIds norm = add_final_norm(config, bench.parameters);
  const MatrixIds matrix = add_head(config, bench.parameters);
  bench.fill();
  const Head head(Norm(norm, config.norm), make_dense_linear(matrix), config.vocab_size);
  const int tokens = 256 + 4;
  const MicroBatch batch = make_batch({tokens}, config.vocab_size, "tokens");
  Tensor x = bench.random({tokens, 8}, "x");
  SumOfLogits loss;
  LayerContext context = bench.context(), quiet = bench.quiet();
  HeadStash stash;
  Tensor loss_sum = no_loss(bench.operations);
  head.forward(context, batch, {x, {}}, 1.0, loss, loss_sum, stash);
  CHECK(loss.chunks == std::vector<int64_t>{bench.operations.head_chunk(config.vocab_size), 4});
  head.backward_weight(context, stash);
  bench.check_weights([&] { return evaluated(head, quiet, batch, x, loss); });
}

TEST_CASE("blocks of one rotary base have tables of their own where only some are scaled", "[layers]") {
  Bench bench;
  ModelConfig config = tiny_config(true);
  config.num_hidden_layers = 3;
  config.rope_scaling.kind = RopeScalingKind::linear;
  config.rope_scaling.factor = 4;
  config.blocks.resize(3);
  config.blocks[1].rope_theta = config.rope_theta;  // unscaled, as Gemma 3's windows are
  BlockRotations rotations;
  const auto sines = [&](int64_t block) {
    return doubles(rotations.of(config, block, bench.operations).sines);
  };
  CHECK(sines(0) == sines(2));
  CHECK(sines(0) != sines(1));
  ModelConfig plain = config;
  plain.rope_scaling = {};
  CHECK(sines(1) == doubles(make_rotary_tables(plain, bench.operations).sines));
}
