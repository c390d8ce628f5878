// What is exactly zero on paper is exactly zero on every implementation. An optimizer that divides a gradient
// by its size makes whole steps of whatever stands in a zero's place.
#include <numeric>

#include "tests/catch.hpp"
#include "tests/kernels/support.hpp"

using namespace collie;
using namespace collie::test;

namespace {

bool all_zero(const std::vector<float>& values) {
  return std::all_of(values.begin(), values.end(), [](float value) { return value == 0; });
}

// Self-attention over packed documents, forward and backward.
struct Attention {
  Attention(Operations& ops, const AttentionSpans& documents, int64_t all_heads, int64_t key_heads,
            int64_t dim)
      : bench(ops, true), spans(documents), heads(all_heads), kv_heads(key_heads), head_dim(dim) {
    const int64_t queries = spans.query_starts.back(), keys = spans.key_starts.back();
    const Shape q_shape{queries, heads, head_dim}, k_shape{keys, kv_heads, head_dim};
    q = bench.input(random_values(q_shape, 1, 3));
    k = bench.input(random_values(k_shape, 2, 3));
    v = bench.input(random_values(k_shape, 3, 3));
    d_out_values = random_values(q_shape, 4);
    out = bench.output(q_shape);
    log_sum_exp = bench.statistics(Shape{queries, heads});
    dq = bench.output(q_shape);
    dk = bench.output(k_shape);
    dv = bench.output(k_shape);
  }

  void run() {
    const double score_scale = 1 / std::sqrt(static_cast<double>(head_dim));
    bench.ops.attention(q, k, v, spans, score_scale, out, log_sum_exp);
    bench.ops.attention_backward(q, k, v, spans, score_scale, out, log_sum_exp, bench.input(d_out_values), dq,
                                 dk, dv);
  }
  std::vector<float> row(const Tensor& x, int64_t index) { return bench.read(x.rows(index, index + 1)); }

  Bench bench;
  AttentionSpans spans;
  int64_t heads, kv_heads, head_dim;
  Tensor q, k, v, out, log_sum_exp, dq, dk, dv;
  Values d_out_values;
};

// `documents` documents of one token.
AttentionSpans single_tokens(int32_t documents) {
  AttentionSpans spans;
  spans.query_starts.resize(static_cast<size_t>(documents) + 1);
  std::iota(spans.query_starts.begin(), spans.query_starts.end(), 0);
  spans.key_starts = spans.query_starts;
  return spans;
}

}  // namespace

TEST_CASE("where every query sees one key, no query and no key has a gradient", "[zeros][slow]") {
  const std::vector<AttentionSpans> all{single_tokens(1),
                                        single_tokens(70),
                                        {{0, 3, 150}, {0, 3, 150}, true, 1},  // a window of one key
                                        {{0, 9, 40}, {0, 12, 400}, true, 1},  // the same behind earlier keys
                                        {{0, 1300}, {0, 1300}, true, 1},      // longer than one task takes
                                        {{0, 70, 70, 71}, {0, 1, 1, 2}, false}};  // not causal
  struct Heads {
    int64_t all, of_keys, dim;
  };
  for (const AttentionSpans& spans : all)
    for (const auto& [heads, kv_heads, head_dim] :
         {Heads{1, 1, 1}, Heads{4, 2, 8}, Heads{2, 1, 33}, Heads{2, 2, 128}, Heads{1, 1, 144}}) {
      CAPTURE(spans.query_starts.size(), spans.query_starts.back(), spans.window, spans.causal, heads,
              kv_heads, head_dim);
      on_every_table([&, heads = heads, kv_heads = kv_heads, head_dim = head_dim](Operations& ops) {
        Attention attention(ops, spans, heads, kv_heads, head_dim);
        attention.run();
        CHECK(all_zero(attention.bench.read(attention.dq)));
        CHECK(all_zero(attention.bench.read(attention.dk)));
        const std::vector<float> dv = attention.bench.read(attention.dv);
        CHECK_FALSE(all_zero(dv));
        CHECK(std::none_of(dv.begin(), dv.end(), [](float value) { return std::isnan(value); }));
      });
    }
}

TEST_CASE("of a document's first token alone, no query and no key has a gradient", "[zeros]") {
  // Of documents of 1, 64 and 135 tokens, and of one behind a cache, whose first query sees 20 keys.
  const AttentionSpans spans{{0, 1, 65, 200, 230}, {0, 1, 65, 200, 249}};
  on_every_table([&](Operations& ops) {
    Attention attention(ops, spans, 4, 2, 12);
    const auto width = static_cast<size_t>(4 * 12);
    for (size_t i = 0; i < attention.d_out_values.data.size(); ++i)
      if (const size_t row = i / width; row != 0 && row != 1 && row != 65) attention.d_out_values.data[i] = 0;
    attention.run();
    CHECK(all_zero(attention.bench.read(attention.dq)));
    CHECK(all_zero(attention.bench.read(attention.dk)));
    for (const int64_t first : {0, 1, 65}) CHECK_FALSE(all_zero(attention.row(attention.dv, first)));
  });
}

TEST_CASE("only queries that see one key lose the gradients of their scores", "[zeros]") {
  const AttentionSpans spans{{0, 1, 65, 200, 230}, {0, 1, 65, 200, 249}};
  on_every_table([&](Operations& ops) {
    Attention attention(ops, spans, 4, 2, 12);
    attention.run();
    for (int64_t row = 0; row < 230; ++row) {
      CAPTURE(row);
      CHECK(all_zero(attention.row(attention.dq, row)) == (row == 0 || row == 1 || row == 65));
    }
  });
}

TEST_CASE("a query that sees one of the keys that are given, and others elsewhere, has a gradient",
          "[zeros]") {
  AttentionSpans spans{{0, 5, 12}, {0, 5, 12}};
  spans.more_keys = {true, false};
  on_every_table([&](Operations& ops) {
    Attention attention(ops, spans, 2, 1, 8);
    const double score_scale = 0.3;
    Tensor all = attention.bench.output(attention.out.shape());
    ops.attention(attention.q, attention.k, attention.v, spans, score_scale, all, attention.log_sum_exp);
    // As if there were other keys, which have half of the weight, and values of zero.
    ops.scale(all, 0.5);
    std::vector<float> sums = attention.bench.read(attention.log_sum_exp);
    for (float& sum : sums) sum += std::log(2.0F);
    ops.upload(sums, attention.log_sum_exp);
    ops.attention_backward(attention.q, attention.k, attention.v, spans, score_scale, all,
                           attention.log_sum_exp, attention.bench.input(attention.d_out_values), attention.dq,
                           attention.dk, attention.dv);
    CHECK_FALSE(all_zero(attention.row(attention.dq, 0)));
    CHECK(all_zero(attention.row(attention.dq, 5)));
  });
}

TEST_CASE("without a gradient from above there is none below", "[zeros]") {
  on_every_table([](Operations& ops) {
    Attention attention(ops, {{0, 1, 40, 140}, {0, 1, 40, 140}}, 4, 2, 16);
    std::fill(attention.d_out_values.data.begin(), attention.d_out_values.data.end(), 0.0F);
    attention.run();
    for (const Tensor* gradient : {&attention.dq, &attention.dk, &attention.dv})
      CHECK(all_zero(attention.bench.read(*gradient)));

    Bench bench(ops, true);
    const Shape shape{9, 24};
    const Values zeros{shape, std::vector<float>(9 * 24, 0)};
    const Tensor d_out = bench.input(zeros), x = bench.input(random_values(shape, 5, 4));
    Tensor d_gate = bench.output(shape), d_up = bench.output(shape);
    for (const Activation activation : all_activations) {
      ops.gated_backward(activation, x, bench.input(random_values(shape, 6, 4)), d_out, d_gate, d_up);
      CHECK(all_zero(bench.read(d_gate)));
      CHECK(all_zero(bench.read(d_up)));
      ops.activate_backward(activation, x, d_out, d_gate);
      CHECK(all_zero(bench.read(d_gate)));
    }
    Tensor y = bench.output(shape), inverse_rms = bench.statistics(Shape{9}), dx = bench.output(shape);
    Tensor weight = ops.empty({24}, Category::weights),
           d_weight = ops.empty({24}, ops.accumulation_dtype(), Category::weights);
    ops.fill(weight, 1.5);
    ops.rms_norm(x, weight, 0, 1e-5, y, inverse_rms);
    ops.rms_norm_backward_input(d_out, x, weight, 0, inverse_rms, {}, dx);
    ops.rms_norm_backward_weight(d_out, x, inverse_rms, d_weight, false);
    CHECK(all_zero(bench.read(dx)));
    CHECK(all_zero(bench.read(d_weight)));
    Tensor statistics = bench.statistics(Shape{9, 2});
    ops.layer_norm(x, weight, {}, 1e-5, y, statistics);
    ops.layer_norm_backward_input(d_out, x, weight, statistics, {}, dx);
    ops.layer_norm_backward_weight(d_out, x, statistics, d_weight, false);
    CHECK(all_zero(bench.read(dx)));
    CHECK(all_zero(bench.read(d_weight)));
  });
}

TEST_CASE("a row of zeros has no part in a norm's weight gradient", "[zeros]") {
  on_every_table([](Operations& ops) {
    Bench bench(ops, true);
    const Shape shape{3, 40};
    const Tensor x = bench.input({shape, std::vector<float>(3 * 40, 0)});
    const Tensor dy = bench.input(random_values(shape, 7));
    Tensor y = bench.output(shape), inverse_rms = bench.statistics(Shape{3}), dx = bench.output(shape);
    Tensor weight = ops.empty({40}, Category::weights),
           d_weight = ops.empty({40}, ops.accumulation_dtype(), Category::weights);
    ops.fill(weight, 0.5);
    ops.rms_norm(x, weight, 0, 1e-6, y, inverse_rms);
    ops.rms_norm_backward_weight(dy, x, inverse_rms, d_weight, false);
    ops.rms_norm_backward_input(dy, x, weight, 0, inverse_rms, {}, dx);
    CHECK(all_zero(bench.read(y)));
    CHECK(all_zero(bench.read(d_weight)));
    const std::vector<float> below = bench.read(dx);
    CHECK(std::all_of(below.begin(), below.end(), [](float value) { return std::isfinite(value); }));
  });
}

TEST_CASE("a row of equal values has no part in a LayerNorm's weight gradient", "[zeros]") {
  on_every_table([](Operations& ops) {
    Bench bench(ops, true);
    const Shape shape{3, 64};
    const Tensor x = bench.input({shape, std::vector<float>(3 * 64, 2.5F)});
    const Tensor dy = bench.input(random_values(shape, 7));
    Tensor y = bench.output(shape), statistics = bench.statistics(Shape{3, 2}), dx = bench.output(shape);
    Tensor weight = ops.empty({64}, Category::weights),
           d_weight = ops.empty({64}, ops.accumulation_dtype(), Category::weights);
    ops.fill(weight, 0.5);
    ops.layer_norm(x, weight, {}, 1e-6, y, statistics);
    ops.layer_norm_backward_weight(dy, x, statistics, d_weight, false);
    ops.layer_norm_backward_input(dy, x, weight, statistics, {}, dx);
    CHECK(all_zero(bench.read(y)));
    CHECK(all_zero(bench.read(d_weight)));
    const std::vector<float> below = bench.read(dx);
    CHECK(std::all_of(below.begin(), below.end(), [](float value) { return std::isfinite(value); }));
  });
}

TEST_CASE("a vocabulary of one token has no loss and no gradient", "[zeros]") {
  const std::vector<int32_t> labels{0, 0, -100, 0};
  on_every_table([&](Operations& ops) {
    Bench bench(ops, true);
    const Values scores = random_values({4, 1}, 8, 30);
    Tensor logits = bench.input(scores);
    CHECK(cross_entropy(ops, logits, labels, 0.37) == 0);
    CHECK(all_zero(bench.read(logits)));
    Tensor sharded = bench.input(scores);
    Tensor statistics = ops.empty({4, 3}, DType::f64, Category::workspace);
    ops.softmax_statistics(sharded, labels, 0, statistics);
    CHECK(cross_entropy_from_statistics(ops, sharded, labels, 0, statistics.reshape({1, 4, 3}), 0.37) == 0);
    CHECK(all_zero(bench.read(sharded)));
  });
}

TEST_CASE("a token that is sure of its label, and one that is no target, have no gradient", "[zeros]") {
  const std::vector<int32_t> labels{2, -100};
  on_every_table([&](Operations& ops) {
    Bench bench(ops, true);
    const Values scores{{2, 5}, {-200, -300, 100, -250, -400, 1, 2, 3, 4, 5}};
    Tensor logits = bench.input(scores);
    CHECK(cross_entropy(ops, logits, labels, 1.0 / 3) == 0);
    CHECK(all_zero(bench.read(logits)));
    Tensor left = bench.input({{2, 2}, {-200, -300, 1, 2}}),
           right = bench.input({{2, 3}, {100, -250, -400, 3, 4, 5}});
    Tensor statistics = ops.empty({2, 2, 3}, DType::f64, Category::workspace);
    Tensor whole = statistics.reshape({4, 3}), of_left = whole.rows(0, 2), of_right = whole.rows(2, 4);
    ops.softmax_statistics(left, labels, 0, of_left);
    ops.softmax_statistics(right, labels, 2, of_right);
    CHECK(cross_entropy_from_statistics(ops, left, labels, 0, statistics, 1.0 / 3) == 0);
    CHECK(cross_entropy_from_statistics(ops, right, labels, 2, statistics, 1.0 / 3) == 0);
    CHECK(all_zero(bench.read(left)));
    CHECK(all_zero(bench.read(right)));
  });
}

TEST_CASE("the embeddings of tokens that do not occur have no gradient", "[zeros]") {
  const std::vector<int32_t> ids{3, 1, 3, -1};
  on_every_table([&](Operations& ops) {
    Bench bench(ops, true);
    Tensor d_table = bench.gradient({{6, 8}, {}}, false);
    ops.embedding_backward(ids, bench.input(random_values({4, 8}, 9)), d_table, false);
    for (const int64_t unused : {0, 2, 4, 5}) CHECK(all_zero(bench.read(d_table.rows(unused, unused + 1))));
    CHECK_FALSE(all_zero(bench.read(d_table.rows(3, 4))));
  });
}

TEST_CASE("without a gradient, and without decay, no update rule changes anything", "[zeros]") {
  for (RuleCase rule : all_rules_to_test()) {
    CAPTURE(rule.rule);
    rule.options.set("weight_decay", 0.0);
    on_every_table([&](Operations& ops) {
      const Values values = random_values({1000}, 10);
      Tensor weight = ops.empty({1000}, ops.accumulation_dtype(), Category::weights);
      ops.upload(values.data, weight);
      const auto zeros = [&](Category category) {
        Tensor x = ops.empty({1000}, ops.accumulation_dtype(), category);
        ops.fill(x, 0);
        return x;
      };
      const Tensor gradient = zeros(Category::gradients);
      const ElementwiseRule& declared = elementwise_rule(rule.rule);
      const std::vector<StateDeclaration> declarations =
          declared.with(with_defaults(declared.options, rule.options)).states;
      std::vector<Tensor> states;
      for (const StateDeclaration& state : declarations) {
        states.push_back(zeros(Category::optimizer));
        if (state.starts_as_weight) ops.copy(weight, states.back());
      }
      for (int64_t step = 1; step < 4; ++step)
        update(ops, weight, gradient, states, step_of(rule.rule, rule.options, step));
      std::vector<float> found(1000);
      ops.download(weight, found);
      CHECK(found == values.data);
      for (size_t i = 0; i < states.size(); ++i) {
        ops.download(states[i], found);
        CHECK(found == (declarations[i].starts_as_weight ? values.data : std::vector<float>(1000)));
      }
    });
  }
}
