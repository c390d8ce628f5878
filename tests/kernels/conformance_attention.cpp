// The part of the conformance suite (conformance.cpp) that is of attention.
#include "tests/catch.hpp"
#include "tests/kernels/support.hpp"

using namespace collie;
using namespace collie::test;

namespace {

struct AttentionCase {
  int64_t heads, kv_heads, head_dim;
  AttentionSpans spans;
};

// Prints as the suite's failing case.
std::string to_string(const AttentionCase& c) {
  std::string text =
      fmt::format("heads {}/{} of {}, window {}, {} past the keys, documents (queries/keys):", c.heads,
                  c.kv_heads, c.head_dim, c.spans.window, c.spans.past_keys);
  for (size_t i = 0; i + 1 < c.spans.query_starts.size(); ++i)
    text += fmt::format(" {}/{}", c.spans.query_starts[i + 1] - c.spans.query_starts[i],
                        c.spans.key_starts[i + 1] - c.spans.key_starts[i]);
  return text;
}

void attention_conforms(const AttentionCase& c) {
  INFO(to_string(c));
  const int64_t queries = c.spans.query_starts.back(), keys = c.spans.key_starts.back();
  const Shape q_shape{queries, c.heads, c.head_dim}, k_shape{keys, c.kv_heads, c.head_dim};
  const Values q = random_values(q_shape, 19, 2), k = random_values(k_shape, 20, 2),
               v = random_values(k_shape, 21);
  const Values d_out = random_values(q_shape, 22);
  const double score_scale = 1 / std::sqrt(static_cast<double>(c.head_dim));
  conforms([&](Bench& bench) {
    Tensor qt = bench.input(q), kt = bench.input(k), vt = bench.input(v), d = bench.input(d_out);
    Tensor out = bench.output(q_shape), log_sum_exp = bench.statistics(Shape{queries, c.heads});
    Tensor dq = bench.output(q_shape), dk = bench.output(k_shape), dv = bench.output(k_shape);
    bench.ops.attention(qt, kt, vt, c.spans, score_scale, out, log_sum_exp);
    bench.ops.attention_backward(qt, kt, vt, c.spans, score_scale, out, log_sum_exp, d, dq, dk, dv);
    return Outputs{bench.read(out), bench.read(log_sum_exp), bench.read(dq), bench.read(dk), bench.read(dv)};
  });
}

}  // namespace

TEST_CASE("attention and its backward conform on documents of any length", "[conformance]") {
  attention_conforms({2, 2, 8, {{0}, {0}}});
  attention_conforms({2, 1, 8, {{0, 0}, {0, 0}}});
  attention_conforms({1, 1, 1, {{0, 1}, {0, 1}}});
  attention_conforms({4, 4, 16, {{0, 9}, {0, 9}}});
  attention_conforms({4, 2, 20, {{0, 3, 3, 68, 69, 133}, {0, 3, 3, 68, 69, 133}}});
  attention_conforms({6, 2, 7, {{0, 64, 128, 400}, {0, 64, 128, 400}}});
  attention_conforms({2, 1, 64, {{0, 256, 513}, {0, 256, 513}}});
}

TEST_CASE("attention conforms with more keys than queries", "[conformance]") {
  attention_conforms({4, 2, 16, {{0, 1}, {0, 77}}});
  attention_conforms({4, 1, 12, {{0, 5, 5, 70}, {0, 300, 310, 900}}});
}

TEST_CASE("attention conforms on documents longer than one task takes", "[conformance]") {
  attention_conforms({2, 1, 8, {{0, 30, 1200}, {0, 30, 1200}}});
  attention_conforms({1, 1, 8, {{0, 200}, {0, 1300}}});
}

TEST_CASE("attention that is not causal conforms, with more keys than queries or fewer", "[conformance]") {
  attention_conforms({2, 2, 8, {{0}, {0}, false}});
  attention_conforms({2, 1, 8, {{0, 0}, {0, 0}, false}});
  attention_conforms({1, 1, 1, {{0, 1}, {0, 1}, false}});
  attention_conforms({4, 2, 20, {{0, 3, 3, 68, 69, 133}, {0, 1, 1, 66, 166, 168}, false}});
  attention_conforms({3, 1, 7, {{0, 64, 64, 64, 300}, {0, 256, 256, 270, 527}, false}});
  attention_conforms({2, 1, 64, {{0, 70, 513}, {0, 600, 603}, false}});
}

TEST_CASE("attention that is not causal conforms on documents longer than one task takes", "[conformance]") {
  attention_conforms({2, 1, 8, {{0, 70}, {0, 1300}, false}});
  attention_conforms({2, 2, 8, {{0, 1100}, {0, 5}, false}});
}

TEST_CASE("attention conforms where a query sees only the last keys before it", "[conformance]") {
  attention_conforms({2, 1, 8, {{0, 3, 150}, {0, 3, 150}, true, 2}});
  attention_conforms({4, 2, 7, {{0, 64, 264}, {0, 64, 264}, true, 63}});
  attention_conforms({2, 1, 8, {{0, 5, 105}, {0, 300, 700}, true, 70}});
  attention_conforms({1, 1, 8, {{0, 1100}, {0, 1100}, true, 257}});
  attention_conforms({1, 1, 8, {{0, 40}, {0, 40}, true, 1000}});
}

TEST_CASE("attention conforms where queries stand past the keys that their windows reach", "[conformance]") {
  attention_conforms({2, 1, 8, {{0, 3, 50}, {0, 3, 50}, true, 40, 39}});
  attention_conforms({4, 2, 7, {{0, 70, 70, 100}, {0, 300, 300, 320}, true, 90, 20}});  // a document of none
  attention_conforms({2, 2, 20, {{0, 64}, {0, 3}, true, 70, 61}});                      // fewer keys
  attention_conforms({2, 1, 8, {{0, 5}, {0, 300}, true, 10, 3}});                       // keys nobody sees
  attention_conforms({1, 1, 8, {{0, 300}, {0, 700}, true, 257, 200}});
  attention_conforms({1, 1, 8, {{0, 1100}, {0, 1300}, true, 300, 290}});
  attention_conforms({3, 1, 64, {{0, 200}, {0, 600}, true, 1000, 100}});  // the window has all keys
}

TEST_CASE("a query that sees one key gets its value", "[conformance]") {
  const Shape q_shape{40, 2, 8}, k_shape{50, 1, 8};
  const Values q = random_values(q_shape, 38), k = random_values(k_shape, 39), v = random_values(k_shape, 40);
  conforms([&](Bench& bench) {
    Tensor out = bench.output(q_shape), log_sum_exp = bench.statistics(Shape{40, 2});
    const Tensor vt = bench.input(v);
    bench.ops.attention(bench.input(q), bench.input(k), vt, {{0, 9, 40}, {0, 12, 50}, true, 1}, 1, out,
                        log_sum_exp);
    const std::vector<float> as_given = bench.read(vt);
    std::vector<float> values;
    for (int64_t query = 0; query < 40; ++query)
      for (int64_t i = 0; i < 16; ++i)
        values.push_back(as_given[static_cast<size_t>((query + (query < 9 ? 3 : 10)) * 8 + i % 8)]);
    CHECK(relative_error(bench.read(out), values) < 1e-6);
    return Outputs{bench.read(out), bench.read(log_sum_exp)};
  });
}

TEST_CASE("merge_attention conforms", "[conformance]") {
  struct Sizes {
    int64_t queries, heads, head_dim;
  };
  const std::vector<Sizes> all{{0, 2, 8},  {1, 1, 1},   {5, 3, 7},   {33, 17, 5},
                               {9, 4, 64}, {65, 8, 80}, {700, 9, 33}};
  for (const auto& [queries, heads, head_dim] : all) {
    CAPTURE(queries, heads, head_dim);
    const Shape shape{queries, heads, head_dim}, sums{queries, heads};
    const Values out = random_values(shape, 34), part = random_values(shape, 35);
    const Values log_sum_exp = random_values(sums, 36, 3), part_log_sum_exp = random_values(sums, 37, 3);
    conforms([&](Bench& bench) {
      Tensor merged = bench.input(out), sum = bench.statistics(log_sum_exp);
      bench.ops.merge_attention(merged, sum, bench.input(part), bench.statistics(part_log_sum_exp));
      return Outputs{bench.read(merged), bench.read(sum)};
    });
  }
}

TEST_CASE("attention with large scores does not overflow", "[conformance]") {
  const Shape shape{40, 1, 8};
  const Values q = random_values(shape, 23, 30), k = random_values(shape, 24, 30),
               v = random_values(shape, 25);
  conforms([&](Bench& bench) {
    Tensor out = bench.output(shape), log_sum_exp = bench.statistics(Shape{40, 1});
    bench.ops.attention(bench.input(q), bench.input(k), bench.input(v), {{0, 40}, {0, 40}}, 1, out,
                        log_sum_exp);
    return Outputs{bench.read(out), bench.read(log_sum_exp)};
  });
}
