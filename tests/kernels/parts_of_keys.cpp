// Attention whose keys come in parts, as they do in a ring of ranks: parts merged are the whole, forward and
// backward.
#include "tests/catch.hpp"
#include "tests/kernels/support.hpp"

using namespace collie;
using namespace collie::test;

namespace {

constexpr double score_scale = 0.4;

// What attention is given, and what it gives: of all keys at once, or gathered from parts.
struct Whole {
  Whole(Bench& maker, int64_t queries, int64_t keys, int64_t heads, int64_t kv_heads, int64_t head_dim)
      : bench(maker),
        q(bench.input(random_values({queries, heads, head_dim}, 1, 2))),
        k(bench.input(random_values({keys, kv_heads, head_dim}, 2, 2))),
        v(bench.input(random_values({keys, kv_heads, head_dim}, 3))),
        d_out(bench.input(random_values({queries, heads, head_dim}, 4))),
        out(bench.output(q.shape())),
        log_sum_exp(bench.statistics(Shape{queries, heads})),
        dq(bench.output(q.shape())),
        dk(bench.output(k.shape())),
        dv(bench.output(k.shape())) {}

  Outputs read() {
    return {bench.read(out), bench.read(log_sum_exp), bench.read(dq), bench.read(dk), bench.read(dv)};
  }

  Bench& bench;
  Tensor q, k, v, d_out, out, log_sum_exp, dq, dk, dv;
};

Outputs at_once(Whole x, const AttentionSpans& spans) {
  Operations& ops = x.bench.ops;
  ops.attention(x.q, x.k, x.v, spans, score_scale, x.out, x.log_sum_exp);
  ops.attention_backward(x.q, x.k, x.v, spans, score_scale, x.out, x.log_sum_exp, x.d_out, x.dq, x.dk, x.dv);
  return x.read();
}

// Queries against keys they see: all of them, or causally.
struct Part {
  int64_t first_query, last_query, first_key, last_key;
  bool causal;
  bool more_keys = false;  // some of the queries are in other parts, too
  int64_t window = 0;      // counted from where a query stands in the whole

  AttentionSpans spans() const {
    AttentionSpans all{{0, static_cast<int32_t>(last_query - first_query)},
                       {0, static_cast<int32_t>(last_key - first_key)},
                       causal,
                       window};
    if (window > 0) all.past_keys = last_query - last_key;
    all.more_keys = {more_keys};
    return all;
  }
};

std::vector<Part> that_know_of_each_other(std::vector<Part> parts) {
  for (Part& part : parts)
    part.more_keys = std::count_if(parts.begin(), parts.end(), [&](const Part& other) {
                       return other.first_query < part.last_query && other.last_query > part.first_query;
                     }) > 1;
  return parts;
}

void attend(Whole& x, const Part& p) {
  const Tensor q = x.q.rows(p.first_query, p.last_query), k = x.k.rows(p.first_key, p.last_key);
  Tensor part = x.bench.output(q.shape()), sums = x.bench.statistics(Shape{q.dim(0), q.dim(1)});
  x.bench.ops.attention(q, k, x.v.rows(p.first_key, p.last_key), p.spans(), score_scale, part, sums);
  Tensor out = x.out.rows(p.first_query, p.last_query),
         log_sum_exp = x.log_sum_exp.rows(p.first_query, p.last_query);
  x.bench.ops.merge_attention(out, log_sum_exp, part, sums);
}

void attend_backward(Whole& x, const Part& p) {
  const Tensor q = x.q.rows(p.first_query, p.last_query), k = x.k.rows(p.first_key, p.last_key);
  Tensor dq = x.bench.output(q.shape()), dk = x.bench.output(k.shape()), dv = x.bench.output(k.shape());
  x.bench.ops.attention_backward(q, k, x.v.rows(p.first_key, p.last_key), p.spans(), score_scale,
                                 x.out.rows(p.first_query, p.last_query),
                                 x.log_sum_exp.rows(p.first_query, p.last_query),
                                 x.d_out.rows(p.first_query, p.last_query), dq, dk, dv);
  Tensor all_dq = x.dq.rows(p.first_query, p.last_query), all_dk = x.dk.rows(p.first_key, p.last_key),
         all_dv = x.dv.rows(p.first_key, p.last_key);
  x.bench.ops.add(all_dq, dq, all_dq);
  x.bench.ops.add(all_dk, dk, all_dk);
  x.bench.ops.add(all_dv, dv, all_dv);
}

// Starts from no keys: `out` stays NaN until the first part is merged.
Outputs in_parts(Whole x, const std::vector<Part>& given) {
  const std::vector<Part> parts = that_know_of_each_other(given);
  x.bench.ops.fill(x.log_sum_exp, -std::numeric_limits<double>::infinity());
  for (const Part& part : parts) attend(x, part);
  for (Tensor* gradient : {&x.dq, &x.dk, &x.dv}) x.bench.ops.fill(*gradient, 0);
  for (const Part& part : parts) attend_backward(x, part);
  return x.read();
}

// On every implementation: the parts are the whole, and conform to the reference.
void parts_are_the_whole(const Whole& whole, const AttentionSpans& spans, const std::vector<Part>& parts) {
  const Outputs expected = at_once(whole, spans), found = in_parts(whole, parts);
  const std::vector<std::string> names{"out", "log_sum_exp", "dq", "dk", "dv"};
  const double tolerance = whole.bench.ops.dtype() == DType::f64 ? 1e-7 : 5e-6;  // read as floats
  for (size_t i = 0; i < names.size(); ++i) {
    INFO(names[i]);
    CHECK(relative_error(found[i], expected[i]) < tolerance);
  }
}

}  // namespace

TEST_CASE("parts of the keys, merged in any order, are attention over all of them", "[parts]") {
  const std::vector<int64_t> starts{0, 3, 70, 71, 333};
  for (const bool backwards : {false, true}) {
    CAPTURE(backwards);
    std::vector<Part> parts;
    for (size_t i = 0; i + 1 < starts.size(); ++i) parts.push_back({0, 67, starts[i], starts[i + 1], false});
    if (backwards) std::reverse(parts.begin(), parts.end());
    conforms([&](Bench& bench) {
      const Whole whole(bench, 67, 333, 6, 3, 10);
      parts_are_the_whole(whole, {{0, 67}, {0, 333}, false}, parts);
      return in_parts(whole, parts);
    });
  }
}

TEST_CASE("a ring of chunks is causal attention over the whole document", "[parts]") {
  const std::vector<int64_t> starts{0, 65, 130, 140, 211};
  std::vector<Part> parts;
  for (size_t i = 0; i + 1 < starts.size(); ++i) {
    parts.push_back({starts[i], starts[i + 1], starts[i], starts[i + 1], true});
    for (size_t j = 0; j < i; ++j)
      parts.push_back({starts[i], starts[i + 1], starts[j], starts[j + 1], false});
  }
  conforms([&](Bench& bench) {
    const Whole whole(bench, 211, 211, 4, 2, 12);
    parts_are_the_whole(whole, {{0, 211}, {0, 211}}, parts);
    return in_parts(whole, parts);
  });
}

TEST_CASE("a ring of chunks with a window is windowed attention over the whole document", "[parts]") {
  const int64_t window = GENERATE(1, 2, 9, 65, 71, 100);
  CAPTURE(window);
  const std::vector<int64_t> starts{0, 65, 130, 140, 211};
  std::vector<Part> parts;
  for (size_t i = 0; i + 1 < starts.size(); ++i)
    for (size_t j = 0; j <= i; ++j) {
      // From the first key that the first query sees, to the last query that sees the last key.
      const int64_t first_key = std::max(starts[j], starts[i] + 1 - window),
                    last_query = std::min(starts[i + 1], starts[j + 1] - 1 + window);
      if (first_key >= starts[j + 1]) continue;
      parts.push_back({starts[i], last_query, first_key, starts[j + 1], true, false, window});
    }
  conforms([&](Bench& bench) {
    const Whole whole(bench, 211, 211, 4, 2, 12);
    parts_are_the_whole(whole, {{0, 211}, {0, 211}, true, window}, parts);
    return in_parts(whole, parts);
  });
}

TEST_CASE("a document that runs over the end of a chunk is attended in both", "[parts]") {
  // Documents of 5, 35 and 24 tokens in two chunks of 32: eight queries look back to the first chunk.
  const std::vector<Part> parts{{0, 5, 0, 5, true},
                                {5, 32, 5, 32, true},
                                {32, 40, 32, 40, true},
                                {40, 64, 40, 64, true},
                                {32, 40, 5, 32, false}};
  conforms([&](Bench& bench) {
    const Whole whole(bench, 64, 64, 2, 1, 8);
    parts_are_the_whole(whole, {{0, 5, 40, 64}, {0, 5, 40, 64}}, parts);
    return in_parts(whole, parts);
  });
}

TEST_CASE("parts with scores far apart merge without overflow", "[parts]") {
  conforms([&](Bench& bench) {
    Whole whole(bench, 9, 40, 2, 2, 8);
    bench.ops.scale(whole.q, 40);
    parts_are_the_whole(whole, {{0, 9}, {0, 40}, false}, {{0, 9, 0, 20, false}, {0, 9, 20, 40, false}});
    return in_parts(whole, {{0, 9, 0, 20, false}, {0, 9, 20, 40, false}});
  });
}
