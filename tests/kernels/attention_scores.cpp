// Attention whose scores are capped and whose weights are dropped, on every table that has it.
#include <numeric>

#include "kernels/dropout_mask.hpp"
#include "tests/catch.hpp"
#include "tests/kernels/support.hpp"

using namespace collie;
using namespace collie::test;

namespace {

struct ScoreSettings {
  double soft_cap, dropout;
};
const std::vector<ScoreSettings> all_rules{{1.5, 0}, {0, 0.3}, {2, 0.5}, {0, 1}};

// The numbers of rows and keys that a rank with a part of them would give.
struct RowNumbers {
  explicit RowNumbers(const AttentionSpans& spans) : first_keys(spans.key_starts.size() - 1) {
    query_rows.resize(static_cast<size_t>(spans.query_starts.back()));
    for (size_t i = 0; i < query_rows.size(); ++i) query_rows[i] = 1000 - i + (uint64_t{i % 2} << 35);
    for (size_t d = 0; d < first_keys.size(); ++d) first_keys[d] = 17 * d + 3;
  }
  AttentionScores scores(const ScoreSettings& rules, double scale) const {
    AttentionScores scores(scale);
    scores.soft_cap = rules.soft_cap;
    scores.dropout = rules.dropout;
    scores.dropout_key = 0xFEDCBA9876543210;
    scores.query_rows = query_rows;
    scores.first_keys = first_keys;
    scores.first_head = 5;
    return scores;
  }
  std::vector<uint64_t> query_rows, first_keys;
};

struct HeadSizes {
  int64_t all, of_keys, dim;
};

void scored_attention_conforms(const HeadSizes& heads, const AttentionSpans& spans) {
  const RowNumbers numbers(spans);
  for (const ScoreSettings& rules : all_rules) {
    CAPTURE(heads.all, heads.of_keys, heads.dim, spans.query_starts, spans.key_starts, spans.window);
    CAPTURE(rules.soft_cap, rules.dropout);
    const int64_t queries = spans.query_starts.back(), keys = spans.key_starts.back();
    const Shape q_shape{queries, heads.all, heads.dim}, k_shape{keys, heads.of_keys, heads.dim};
    const Values q = random_values(q_shape, 19, 2), k = random_values(k_shape, 20, 2),
                 v = random_values(k_shape, 21), d_out = random_values(q_shape, 22);
    const AttentionScores scores = numbers.scores(rules, 1 / std::sqrt(static_cast<double>(heads.dim)));
    conforms([&](Bench& bench) {
      const Tensor qt = bench.input(q), kt = bench.input(k), vt = bench.input(v), d = bench.input(d_out);
      Tensor out = bench.output(q_shape), log_sum_exp = bench.statistics(Shape{queries, heads.all});
      Tensor dq = bench.output(q_shape), dk = bench.output(k_shape), dv = bench.output(k_shape);
      bench.ops.attention(qt, kt, vt, spans, scores, out, log_sum_exp);
      bench.ops.attention_backward(qt, kt, vt, spans, scores, out, log_sum_exp, d, dq, dk, dv);
      return Outputs{bench.read(out), bench.read(log_sum_exp), bench.read(dq), bench.read(dk),
                     bench.read(dv)};
    });
  }
}

// Attention over packed documents on one table.
struct ScoredAttention {
  ScoredAttention(Operations& operations, const AttentionSpans& documents, const HeadSizes& of)
      : ops(operations), bench(operations, true), spans(documents), heads(of) {
    const int64_t queries = spans.query_starts.back(), keys = spans.key_starts.back();
    const Shape q_shape{queries, heads.all, heads.dim}, k_shape{keys, heads.of_keys, heads.dim};
    q = bench.input(random_values(q_shape, 1, 2));
    k = bench.input(random_values(k_shape, 2, 2));
    v = bench.input(random_values(k_shape, 3));
    d_out = bench.input(random_values(q_shape, 4));
    out = bench.output(q_shape);
    log_sum_exp = bench.statistics(Shape{queries, heads.all});
    dq = bench.output(q_shape);
    dk = bench.output(k_shape);
    dv = bench.output(k_shape);
  }
  void run(const AttentionScores& scores) {
    ops.attention(q, k, v, spans, scores, out, log_sum_exp);
    ops.attention_backward(q, k, v, spans, scores, out, log_sum_exp, d_out, dq, dk, dv);
  }

  Operations& ops;
  Bench bench;
  AttentionSpans spans;
  HeadSizes heads;
  Tensor q, k, v, d_out, out, log_sum_exp, dq, dk, dv;
};

std::vector<uint64_t> counted_from(uint64_t first, size_t count) {
  std::vector<uint64_t> numbers(count);
  std::iota(numbers.begin(), numbers.end(), first);
  return numbers;
}

}  // namespace

TEST_CASE("attention with a cap, with dropout and with both conforms", "[conformance]") {
  scored_attention_conforms({2, 1, 8}, {{0, 0}, {0, 0}});
  scored_attention_conforms({1, 1, 1}, {{0, 1}, {0, 1}});
  scored_attention_conforms({4, 2, 20}, {{0, 3, 3, 68, 69, 133}, {0, 3, 3, 68, 69, 133}});
  scored_attention_conforms({4, 1, 12}, {{0, 5, 5, 70}, {0, 300, 310, 900}});
  scored_attention_conforms({4, 2, 20}, {{0, 3, 3, 68, 69, 133}, {0, 1, 1, 66, 166, 168}, false});
  scored_attention_conforms({2, 1, 8}, {{0, 5, 105}, {0, 300, 700}, true, 70});
}

TEST_CASE("attention with a cap or dropout conforms on documents longer than one task takes",
          "[conformance]") {
  scored_attention_conforms({2, 1, 8}, {{0, 30, 1200}, {0, 30, 1200}});
  scored_attention_conforms({1, 1, 8}, {{0, 70}, {0, 1300}, false});
}

TEST_CASE("attention by scores that are far beyond the cap stays finite", "[conformance]") {
  const Shape shape{40, 1, 8};
  const Values q = random_values(shape, 23, 30), k = random_values(shape, 24, 30),
               v = random_values(shape, 25), d_out = random_values(shape, 26);
  AttentionScores scores(1);
  scores.soft_cap = 50;
  conforms([&](Bench& bench) {
    Tensor out = bench.output(shape), log_sum_exp = bench.statistics(Shape{40, 1});
    bench.ops.attention(bench.input(q), bench.input(k), bench.input(v), {{0, 40}, {0, 40}}, scores, out,
                        log_sum_exp);
    return Outputs{bench.read(out), bench.read(log_sum_exp)};
  });
}

TEST_CASE("weights are dropped where the host's generator says, after they were normalised", "[known]") {
  // All scores are 0 and the values are one-hot, so that the output of a query is its weights.
  constexpr int64_t keys = 23, heads = 2;
  std::vector<float> one_hot(keys * keys, 0);
  for (size_t i = 0; i < static_cast<size_t>(keys); ++i) one_hot[i * (keys + 1)] = 1;
  const std::vector<uint64_t> rows{7, uint64_t{9} << 32}, first_keys{6};
  AttentionScores scores(1);
  scores.dropout = 0.25;
  scores.dropout_key = 99;
  scores.query_rows = rows;
  scores.first_keys = first_keys;
  scores.first_head = 3;
  on_every_table([&](Operations& ops) {
    Bench bench(ops, true);
    const Tensor q = bench.input({{2, heads, keys}, std::vector<float>(2 * heads * keys, 0)}),
                 k = bench.input({{keys, 1, keys}, one_hot});
    Tensor out = bench.output(Shape{2, heads, keys}), log_sum_exp = bench.statistics(Shape{2, heads});
    ops.attention(q, k, k, {{0, 2}, {0, static_cast<int32_t>(keys)}, false}, scores, out, log_sum_exp);
    const std::vector<float> weights = bench.read(out);
    const double tolerance = ops.dtype() == DType::bf16 ? 4e-3 : 1e-6;
    int64_t dropped = 0;
    for (uint64_t query = 0; query < 2; ++query)
      for (uint64_t head = 0; head < heads; ++head)
        for (uint64_t key = 0; key < keys; ++key) {
          const uint64_t row = rows[query], number = key + 6;
          const auto words = philox4x32({static_cast<uint32_t>(row), static_cast<uint32_t>(row >> 32),
                                         static_cast<uint32_t>(number / 4), static_cast<uint32_t>(head + 4)},
                                        {99, 0});
          const bool gone = static_cast<double>(words[number % 4]) < 0.25 * 0x1p32;
          dropped += gone ? 1 : 0;
          const auto weight = static_cast<double>(weights[(query * heads + head) * keys + key]);
          CHECK(weight == Approx(gone ? 0 : 1 / (0.75 * keys)).epsilon(tolerance));
        }
    CHECK(dropped > 0);
    const auto sum = static_cast<double>(bench.read(log_sum_exp)[0]);
    CHECK(sum == Approx(std::log(keys)));
  });
}

TEST_CASE("the same weights are dropped in whichever parts documents, heads and keys are computed",
          "[conformance]") {
  const AttentionSpans spans{{0, 70, 100}, {0, 70, 100}};
  const std::vector<uint64_t> rows = counted_from(500, 100), first_keys{0, 90};
  AttentionScores scores(0.4);
  scores.dropout = 0.3;
  scores.soft_cap = 3;
  scores.dropout_key = 11;
  scores.query_rows = rows;
  scores.first_keys = first_keys;
  const auto near = [](Bench& bench, const Tensor& a, const Tensor& b) {
    CHECK(relative_error(bench.read(a), bench.read(b)) < (bench.ops.dtype() == DType::bf16 ? 1e-2 : 3e-6));
  };
  on_every_table([&](Operations& ops) {
    ScoredAttention whole(ops, spans, {4, 2, 8});
    whole.run(scores);
    Bench& bench = whole.bench;

    INFO("the second document alone, of it the last two heads");
    AttentionScores part = scores;
    part.query_rows = scores.query_rows.subspan(70);
    part.first_keys = scores.first_keys.subspan(1);
    part.first_head = 2;
    const auto heads_of = [&](const Tensor& x, int64_t first_row, int64_t first_head, int64_t count) {
      const int64_t dim = 8, tokens = x.dim(0) - first_row;
      return x.rows(first_row, x.dim(0))
          .reshape({tokens, x.dim(1) * dim})
          .columns(first_head * dim, (first_head + count) * dim)
          .reshape({tokens, count, dim});
    };
    const Tensor q = heads_of(whole.q, 70, 2, 2), k = heads_of(whole.k, 70, 1, 1),
                 v = heads_of(whole.v, 70, 1, 1);
    Tensor out = bench.output(q.shape()), sums = bench.statistics(Shape{30, 2});
    ops.attention(q, k, v, {{0, 30}, {0, 30}}, part, out, sums);
    near(bench, out, heads_of(whole.out, 70, 2, 2));

    INFO("the last queries against the first keys and the rest, merged");
    AttentionScores of_first = scores, of_rest = scores;
    const std::vector<uint64_t> zero{0}, forty{40};
    of_first.query_rows = of_rest.query_rows = scores.query_rows.subspan(40, 30);
    of_first.first_keys = zero;
    of_rest.first_keys = forty;
    const Tensor last_q = whole.q.rows(40, 70);
    Tensor merged = bench.output(last_q.shape()), merged_sums = bench.statistics(Shape{30, 4});
    Tensor rest = bench.output(last_q.shape()), rest_sums = bench.statistics(Shape{30, 4});
    AttentionSpans cross{{0, 30}, {0, 40}, false}, own{{0, 30}, {0, 30}};
    cross.more_keys = own.more_keys = {true};
    ops.attention(last_q, whole.k.rows(0, 40), whole.v.rows(0, 40), cross, of_first, merged, merged_sums);
    ops.attention(last_q, whole.k.rows(40, 70), whole.v.rows(40, 70), own, of_rest, rest, rest_sums);
    ops.merge_attention(merged, merged_sums, rest, rest_sums);
    near(bench, merged, whole.out.rows(40, 70));

    INFO("their backward in the same parts");
    const Tensor d_out = whole.d_out.rows(40, 70), of_all = whole.out.rows(40, 70);
    Tensor log_sum_exp = whole.log_sum_exp.rows(40, 70);
    const Shape q_shape = last_q.shape();
    Tensor dq = bench.output(q_shape), dq_rest = bench.output(q_shape);
    Tensor dk = bench.output(Shape{40, 2, 8}), dv = bench.output(Shape{40, 2, 8}),
           dk_rest = bench.output(Shape{30, 2, 8}), dv_rest = bench.output(Shape{30, 2, 8});
    ops.attention_backward(last_q, whole.k.rows(0, 40), whole.v.rows(0, 40), cross, of_first, of_all,
                           log_sum_exp, d_out, dq, dk, dv);
    ops.attention_backward(last_q, whole.k.rows(40, 70), whole.v.rows(40, 70), own, of_rest, of_all,
                           log_sum_exp, d_out, dq_rest, dk_rest, dv_rest);
    ops.add(dq, dq_rest, dq);
    near(bench, dq, whole.dq.rows(40, 70));
    near(bench, dk_rest, whole.dk.rows(40, 70));
    near(bench, dv_rest, whole.dv.rows(40, 70));
  });
}

TEST_CASE("a query that sees one key has no gradient of its score, capped or dropped or not", "[zeros]") {
  const AttentionSpans spans{{0, 1, 40}, {0, 1, 40}, true, 1};
  const RowNumbers numbers(spans);
  for (const ScoreSettings& rules : all_rules)
    on_every_table([&](Operations& ops) {
      CAPTURE(rules.soft_cap, rules.dropout);
      ScoredAttention attention(ops, spans, {2, 1, 8});
      attention.run(numbers.scores(rules, 0.3));
      for (const Tensor& gradient : {attention.dq, attention.dk}) {
        const std::vector<float> values = attention.bench.read(gradient);
        CHECK(std::all_of(values.begin(), values.end(), [](float value) { return value == 0; }));
      }
    });
}
