// The operation table's conformance suite: every operation on every implementation against the double
// reference, on random shapes with odd sizes, dense and strided, outputs poisoned, accumulating or not.
#include "tests/catch.hpp"
#include "tests/kernels/support.hpp"

using namespace collie;
using namespace collie::test;

namespace {

struct Size {
  int64_t rows, width;
};
const std::vector<Size> sizes{{0, 8},   {1, 1},     {3, 7},     {17, 16}, {5, 33},
                              {64, 64}, {129, 172}, {2, 40000}, {700, 65}};

}  // namespace

TEST_CASE("fill, copy, add and scale conform", "[conformance]") {
  for (const auto& [rows, width] : sizes) {
    CAPTURE(rows, width);
    const Values a = random_values({rows, width}, 1), b = random_values({rows, width}, 2);
    conforms([&](Bench& bench) {
      Tensor out = bench.output(a.shape), in_place = bench.input(a), copied = bench.output(a.shape);
      Tensor filled = bench.output(a.shape);
      const Tensor bt = bench.input(b);
      bench.ops.add(in_place, bt, out);
      bench.ops.copy(in_place, copied);
      bench.ops.add(in_place, bt, in_place);
      bench.ops.scale(in_place, -0.37);
      bench.ops.fill(filled, 0.25);
      return Outputs{bench.read(out), bench.read(in_place), bench.read(copied), bench.read(filled)};
    });
  }
}

TEST_CASE("divide_by_root conforms, and what is not a number spoils all of it", "[conformance]") {
  constexpr double not_a_number = std::numeric_limits<double>::quiet_NaN();
  for (const auto& [rows, width] : sizes) {
    CAPTURE(rows, width);
    const Values x = random_values({rows, width}, 4);
    conforms([&](Bench& bench) {
      Tensor by_root = bench.input(x), by_least = bench.table(x), spoiled = bench.input(x);
      bench.ops.divide_by_root(by_root, doubles(bench.ops, {7.0}), 1e-7);
      bench.ops.divide_by_root(by_least, doubles(bench.ops, {1e-20}), 0.5);
      bench.ops.divide_by_root(spoiled, doubles(bench.ops, {not_a_number}), 0);
      for (const float value : bench.read(spoiled)) REQUIRE(std::isnan(value));
      return Outputs{bench.read(by_root), bench.read(by_least)};
    });
  }
}

TEST_CASE("gemm of matrices of the accumulation dtype conforms in every form", "[conformance]") {
  constexpr int64_t m = 33, n = 21, k = 40;
  const Values a = random_values({m, k}, 5), a_t = random_values({k, m}, 6), b = random_values({k, n}, 7),
               b_t = random_values({n, k}, 8);
  conforms([&](Bench& bench) {
    Tensor nn = bench.table(random_values({m, n}, 9)), nt = bench.statistics(Shape{m, n}),
           tn = bench.statistics(Shape{m, n});
    bench.ops.gemm(GemmForm::nn, bench.table(a), bench.table(b), nn, true);
    bench.ops.gemm(GemmForm::nt, bench.table(a), bench.table(b_t), nt, false);
    bench.ops.gemm(GemmForm::tn, bench.table(a_t), bench.table(b), tn, false);
    return Outputs{bench.read(nn), bench.read(nt), bench.read(tn)};
  });
}

TEST_CASE("clamp conforms: infinities become the limit, NaN stays NaN", "[conformance]") {
  constexpr float infinity = std::numeric_limits<float>::infinity();
  for (const auto& [rows, width] : sizes)
    for (const double limit : {0.0, 0.5, 1e30}) {
      CAPTURE(rows, width, limit);
      Values x = random_values({rows, width}, 3), g = random_values({rows, width}, 4, 0.4);
      for (size_t i = 0; i < x.data.size(); i += 5)
        x.data[i] = i % 3 == 0 ? infinity : i % 3 == 1 ? -infinity : std::nanf("");
      conforms([&](Bench& bench) {
        Tensor own = bench.input(x), gradient = bench.gradient(g, true);
        bench.ops.clamp(own, limit);
        bench.ops.clamp(gradient, limit);
        Outputs outputs{bench.read(own), bench.read(gradient)};
        // A NaN has no distance, so it is compared as a value that cannot be there.
        for (float& value : outputs[0])
          if (std::isnan(value)) value = 1e32F;
        return outputs;
      });
    }
}

TEST_CASE("add conforms on any mixture of dense and row-strided tensors of two and three dimensions",
          "[conformance]") {
  for (const Shape& shape : {Shape{7, 3, 5}, Shape{700, 2, 33}, Shape{3, 2, 20000}, Shape{130, 65}}) {
    CAPTURE(shape.to_string());
    const Values a = random_values(shape, 40), b = random_values(shape, 41), c = random_values(shape, 42);
    const int64_t rows = shape[0];
    conforms([&](Bench& bench) {
      Tensor strided = bench.input(a), dense = bench.dense_input(b), other = bench.input(c);
      Tensor out = bench.output(shape), dense_out = bench.dense_output(shape);
      bench.ops.add(strided, dense, out);
      bench.ops.add(strided, other, dense_out);
      Tensor some = other.rows(1, rows - 1);
      bench.ops.add(some, dense.rows(0, rows - 2), some);
      Tensor one = strided.rows(rows - 1, rows);
      bench.ops.add(one, dense.rows(0, 1), one);
      return Outputs{bench.read(out), bench.read(dense_out), bench.read(other), bench.read(strided)};
    });
  }
}

TEST_CASE("add_row and column_sum conform", "[conformance]") {
  for (const auto& [rows, width] : sizes) {
    const bool accumulate = GENERATE(false, true);
    CAPTURE(rows, width, accumulate);
    const Values x = random_values({rows, width}, 3), row = random_values({width}, 4);
    conforms([&](Bench& bench) {
      Tensor xt = bench.input(x), sum = bench.gradient(row, accumulate);
      bench.ops.column_sum(xt, sum, accumulate);
      bench.ops.add_row(xt, bench.input(row));
      return Outputs{bench.read(sum), bench.read(xt)};
    });
  }
}

TEST_CASE("scale_columns and column_dots conform, and so do the norms of rows", "[conformance]") {
  for (const auto& [rows, width] : sizes) {
    const bool accumulate = GENERATE(false, true);
    CAPTURE(rows, width, accumulate);
    const Values x = random_values({rows, width}, 13), y = random_values({rows, width}, 14);
    const Values factors = random_values({width}, 15);
    conforms([&](Bench& bench) {
      Tensor by_own = bench.output(x.shape), by_wide = bench.input(x),
             dots = bench.gradient(factors, accumulate);
      bench.ops.column_dots(bench.input(x), bench.input(y), dots, accumulate);
      bench.ops.scale_columns(bench.input(x), bench.input(factors), by_own);
      bench.ops.scale_columns(by_wide, bench.table(factors), by_wide);
      Tensor squares = bench.statistics(Shape{rows});
      bench.ops.row_sums_of_squares(bench.input(x), squares);
      Tensor inverse = bench.statistics(Shape{rows});
      bench.ops.copy(squares, inverse);
      bench.ops.inverse_roots(inverse);
      return Outputs{bench.read(dots), bench.read(by_own), bench.read(by_wide), bench.read(squares),
                     bench.read(inverse)};
    });
  }
}

TEST_CASE("the inverse root of nothing is nothing", "[conformance]") {
  conforms([&](Bench& bench) {
    Tensor x = bench.statistics(Shape{3});
    bench.ops.fill(x, 0);
    bench.ops.inverse_roots(x);
    for (const float value : bench.read(x)) REQUIRE(value == 0);
    return Outputs{bench.read(x)};
  });
}

TEST_CASE("gemm conforms in every form", "[conformance][slow]") {
  struct Sizes {
    int64_t m, n, k;
  };
  const auto form = GENERATE(GemmForm::nn, GemmForm::nt, GemmForm::tn);
  const bool accumulate = GENERATE(false, true);
  const std::vector<Sizes> all{{0, 5, 3},      {5, 0, 3},       {5, 7, 0},      {1, 1, 1},
                               {1, 200, 172},  {1, 5000, 1000}, {33, 65, 17},   {130, 258, 200},
                               {700, 900, 61}, {3, 2500, 300},  {1100, 40, 129}};
  for (const auto& [m, n, k] : all) {
    CAPTURE(static_cast<int>(form), accumulate, m, n, k);
    const Values a = random_values(form == GemmForm::tn ? Shape{k, m} : Shape{m, k}, 5);
    const Values b = random_values(form == GemmForm::nt ? Shape{n, k} : Shape{k, n}, 6);
    const Values c = random_values({m, n}, 7), row = random_values({n}, 41);
    conforms([&](Bench& bench) {
      Tensor out = bench.gradient(c, accumulate), sum = bench.output(c.shape);
      bench.ops.gemm(form, bench.input(a), bench.input(b), out, accumulate);
      bench.ops.gemm_add_row(form, bench.input(a), bench.input(b), bench.input(row), sum);
      return Outputs{bench.read(out), bench.read(sum)};
    });
  }
}

namespace {

void embedding_conforms(int64_t tokens, int64_t hidden, std::span<const int32_t> ids, int64_t vocab,
                        bool accumulate) {
  CAPTURE(tokens, hidden, accumulate);
  const Values table = random_values({vocab, hidden}, 8), d_out = random_values({tokens, hidden}, 9);
  conforms([&](Bench& bench) {
    Tensor out = bench.output(d_out.shape), d_table = bench.gradient(table, accumulate);
    bench.ops.embedding(bench.input(table), ids, out);
    bench.ops.embedding_backward(ids, bench.input(d_out), d_table, accumulate);
    return Outputs{bench.read(out), bench.read(d_table)};
  });
}

}  // namespace

TEST_CASE("embedding and its backward conform", "[conformance]") {
  const bool accumulate = GENERATE(false, true);
  for (const auto& [tokens, hidden] : sizes)
    embedding_conforms(tokens, hidden, random_integers(static_cast<size_t>(tokens), 23, 10), 23, accumulate);
}

TEST_CASE("embedding of a shard of the table conforms where ids are absent", "[conformance]") {
  const bool accumulate = GENERATE(false, true);
  const int32_t step = GENERATE(1, 2, 3);  // every id is absent, every other, every third
  for (const auto& [tokens, hidden] : sizes) {
    auto ids = random_integers(static_cast<size_t>(tokens), 23, 10);
    for (size_t i = 0; i < ids.size(); i += static_cast<size_t>(step)) ids[i] = absent_id;
    embedding_conforms(tokens, hidden, ids, 23, accumulate);
  }
}

TEST_CASE("rms_norm and its backward conform", "[conformance]") {
  const bool accumulate = GENERATE(false, true);
  const double offset = GENERATE(0.0, 1.0);
  for (const auto& [tokens, hidden] : sizes) {
    if (hidden == 1) continue;  // its gradient is 0 but for eps: rounding noise
    CAPTURE(tokens, hidden, accumulate, offset);
    const Values x = random_values({tokens, hidden}, 11, 2),
                 weight = random_values({hidden}, 12, 0.5, 1 - offset);
    const Values dy = random_values({tokens, hidden}, 13), dx = random_values({tokens, hidden}, 14);
    conforms([&](Bench& bench) {
      Tensor xt = bench.input(x), wt = bench.input(weight), dyt = bench.input(dy);
      Tensor y = bench.output(x.shape), inverse_rms = bench.statistics(Shape{tokens});
      Tensor dxt = bench.output(dx, accumulate), d_weight = bench.gradient(weight, accumulate);
      bench.ops.rms_norm(xt, wt, offset, 1e-5, y, inverse_rms);
      const Tensor beside = bench.input(dx);
      Tensor apart = bench.output(dx.shape);
      bench.ops.rms_norm_backward_input(dyt, xt, wt, offset, inverse_rms, accumulate ? dxt : Tensor(), dxt);
      bench.ops.rms_norm_backward_input(dyt, xt, wt, offset, inverse_rms, beside, apart);
      bench.ops.rms_norm_backward_weight(dyt, xt, inverse_rms, d_weight, accumulate);
      return Outputs{bench.read(y), bench.read(inverse_rms), bench.read(dxt), bench.read(apart),
                     bench.read(d_weight)};
    });
  }
}

TEST_CASE("add_rms_norm conforms, its sum apart or in place", "[conformance]") {
  const double offset = GENERATE(0.0, 1.0);
  for (const auto& [tokens, hidden] : sizes) {
    CAPTURE(tokens, hidden, offset);
    const Values x = random_values({tokens, hidden}, 11, 2), weight = random_values({hidden}, 12, 0.5, 1);
    const Values residual = random_values({tokens, hidden}, 13);
    conforms([&](Bench& bench) {
      Tensor xt = bench.input(x), rt = bench.input(residual), wt = bench.input(weight);
      Tensor sum = bench.output(x.shape), y = bench.output(x.shape), y2 = bench.output(x.shape);
      Tensor inverse_rms = bench.statistics(Shape{tokens}), inverse_rms2 = bench.statistics(Shape{tokens});
      bench.ops.add_rms_norm(xt, rt, wt, offset, 1e-5, sum, y, inverse_rms);
      bench.ops.add_rms_norm(xt, rt, wt, offset, 1e-5, xt, y2, inverse_rms2);
      return Outputs{bench.read(sum), bench.read(y), bench.read(inverse_rms), bench.read(xt), bench.read(y2)};
    });
  }
}

TEST_CASE("a norm's weight offset of 0 changes no bit, not even a zero's sign", "[conformance]") {
  on_every_table([](Operations& ops) {
    Bench bench(ops, false);
    const Tensor x = bench.input({{1, 2}, {1, 2}}), weight = bench.input({{2}, {-0.0F, 0.0F}});
    Tensor y = bench.output(Shape{1, 2}), inverse_rms = bench.statistics(Shape{1});
    ops.rms_norm(x, weight, 0, 1e-5, y, inverse_rms);
    CHECK(std::signbit(bench.read(y)[0]));
    CHECK_FALSE(std::signbit(bench.read(y)[1]));
  });
}

TEST_CASE("layer_norm and its backward conform, with a bias and without", "[conformance]") {
  const bool accumulate = GENERATE(false, true);
  for (const auto& [tokens, hidden] : sizes) {
    CAPTURE(tokens, hidden, accumulate);
    const Values x = random_values({tokens, hidden}, 11, 2, 3), weight = random_values({hidden}, 12, 0.5, 1),
                 bias = random_values({hidden}, 43);
    const Values dy = random_values({tokens, hidden}, 13, 1, 0.5), dx = random_values({tokens, hidden}, 14);
    conforms([&](Bench& bench) {
      const Tensor xt = bench.input(x), wt = bench.input(weight), bt = bench.input(bias),
                   dyt = bench.input(dy);
      Tensor y = bench.output(x.shape), plain = bench.output(x.shape);
      Tensor statistics = bench.statistics(Shape{tokens, 2}), again = bench.statistics(Shape{tokens, 2});
      bench.ops.layer_norm(xt, wt, bt, 1e-5, y, statistics);
      bench.ops.layer_norm(xt, wt, {}, 1e-5, plain, again);
      CHECK(bench.read(again) == bench.read(statistics));
      Tensor dxt = bench.output(dx, accumulate), d_weight = bench.gradient(weight, accumulate);
      const Tensor beside = bench.input(dx);
      Tensor apart = bench.output(dx.shape);
      bench.ops.layer_norm_backward_input(dyt, xt, wt, statistics, accumulate ? dxt : Tensor(), dxt);
      bench.ops.layer_norm_backward_input(dyt, xt, wt, statistics, beside, apart);
      bench.ops.layer_norm_backward_weight(dyt, xt, statistics, d_weight, accumulate);
      return Outputs{bench.read(y),   bench.read(plain), bench.read(statistics),
                     bench.read(dxt), bench.read(apart), bench.read(d_weight)};
    });
  }
}

TEST_CASE("add_layer_norm gives the bits of add, then layer_norm, its sum apart or in place",
          "[conformance]") {
  for (const auto& [tokens, hidden] : sizes) {
    CAPTURE(tokens, hidden);
    const Values x = random_values({tokens, hidden}, 11, 2, 3), weight = random_values({hidden}, 12, 0.5, 1),
                 bias = random_values({hidden}, 43), residual = random_values({tokens, hidden}, 13);
    conforms([&](Bench& bench) {
      Tensor xt = bench.input(x);
      const Tensor rt = bench.input(residual), wt = bench.input(weight), bt = bench.input(bias);
      Tensor sum = bench.output(x.shape), y = bench.output(x.shape), y2 = bench.output(x.shape);
      Tensor statistics = bench.statistics(Shape{tokens, 2}),
             statistics2 = bench.statistics(Shape{tokens, 2});
      bench.ops.add(xt, rt, sum);
      bench.ops.layer_norm(sum, wt, bt, 1e-5, y, statistics);
      const Outputs expected{bench.read(sum), bench.read(y), bench.read(statistics)};
      for (const bool in_place : {false, true}) {
        Tensor apart = bench.output(x.shape);
        bench.ops.add_layer_norm(xt, rt, wt, bt, 1e-5, in_place ? xt : apart, y2, statistics2);
        CHECK((Outputs{bench.read(in_place ? xt : apart), bench.read(y2), bench.read(statistics2)} ==
               expected));
      }
      return expected;
    });
  }
}

TEST_CASE("rope conforms", "[conformance]") {
  struct Sizes {
    int64_t tokens, heads, head_dim, rotated;
  };
  const bool inverse = GENERATE(false, true);
  const std::vector<Sizes> all{{0, 2, 8, 8},    {1, 1, 2, 2},   {7, 3, 6, 6},     {65, 4, 64, 64},
                               {33, 2, 80, 80}, {9, 5, 42, 42}, {300, 8, 32, 32}, {33, 4, 64, 16},
                               {7, 3, 80, 32},  {9, 2, 7, 2},   {5, 3, 20, 12}};
  for (const auto& [tokens, heads, head_dim, rotated] : all) {
    CAPTURE(inverse, tokens, heads, head_dim, rotated);
    const int64_t positions_known = 50;
    const Values x = random_values({tokens, heads, head_dim}, 15);
    const Values cosines = random_values({positions_known, rotated / 2}, 16),
                 sines = random_values({positions_known, rotated / 2}, 17);
    const auto positions = random_integers(static_cast<size_t>(tokens), positions_known, 18);
    conforms([&](Bench& bench) {
      Tensor xt = bench.input(x);
      bench.ops.rope(xt, bench.table(cosines), bench.table(sines), positions, inverse);
      return Outputs{bench.read(xt)};
    });
  }
}

namespace {

struct AttentionCase {
  int64_t heads, kv_heads, head_dim;
  AttentionSpans spans;
};

// Prints as the suite's failing case.
std::string to_string(const AttentionCase& c) {
  std::string text = fmt::format("heads {}/{} of {}, window {}, documents (queries/keys):", c.heads,
                                 c.kv_heads, c.head_dim, c.spans.window);
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

TEST_CASE("gated units and their backward conform", "[conformance]") {
  for (const Activation activation : all_activations)
    for (const auto& [tokens, width] : sizes) {
      CAPTURE(static_cast<int>(activation), tokens, width);
      const Shape shape{tokens, width};
      const Values gate = random_values(shape, 26, 5), up = random_values(shape, 27),
                   d_out = random_values(shape, 28);
      conforms([&](Bench& bench) {
        Tensor g = bench.input(gate), u = bench.input(up);
        Tensor out = bench.output(shape), d_gate = bench.output(shape), d_up = bench.output(shape);
        bench.ops.gated(activation, g, u, out);
        bench.ops.gated_backward(activation, g, u, bench.input(d_out), d_gate, d_up);
        return Outputs{bench.read(out), bench.read(d_gate), bench.read(d_up)};
      });
    }
}

TEST_CASE("activations and their backward conform, in place or not", "[conformance]") {
  for (const Activation activation : all_activations)
    for (const auto& [tokens, width] : sizes) {
      CAPTURE(static_cast<int>(activation), tokens, width);
      const Shape shape{tokens, width};
      const Values x = random_values(shape, 26, 3), d_out = random_values(shape, 28);
      conforms([&](Bench& bench) {
        Tensor xt = bench.input(x), d = bench.input(d_out);
        Tensor out = bench.output(shape), dx = bench.output(shape);
        bench.ops.activate(activation, xt, out);
        bench.ops.activate_backward(activation, xt, d, dx);
        bench.ops.activate_backward(activation, xt, d, d);
        bench.ops.activate(activation, xt, xt);
        CHECK(bench.read(xt) == bench.read(out));
        CHECK(bench.read(d) == bench.read(dx));
        return Outputs{bench.read(out), bench.read(dx)};
      });
    }
}

TEST_CASE("activations of extreme values stay finite", "[conformance]") {
  const Values gate{{1, 10}, {-1e30F, -1000, -100, -88, -20, 20, 88, 100, 1000, 1e30F}},
      up{gate.shape, std::vector<float>(10, 1)};
  for (const Activation activation : all_activations) {
    CAPTURE(static_cast<int>(activation));
    conforms([&](Bench& bench) {
      Tensor g = bench.input(gate), u = bench.input(up);
      Tensor out = bench.output(gate.shape), d_gate = bench.output(gate.shape),
             d_up = bench.output(gate.shape);
      bench.ops.gated(activation, g, u, out);
      bench.ops.gated_backward(activation, g, u, bench.input(up), d_gate, d_up);
      return Outputs{bench.read(out), bench.read(d_gate), bench.read(d_up)};
    });
  }
}

// By norm, the largest values decide. These are compared one by one.
TEST_CASE("activations keep the digits of what is small", "[conformance]") {
  std::vector<float> points;
  for (int i = -160; i <= 160; ++i) points.push_back(static_cast<float>(i) / 32);  // bfloat16 numbers, all
  const Values x{{1, static_cast<int64_t>(points.size())}, points},
      ones{x.shape, std::vector<float>(points.size(), 1)};
  const auto reference = make_reference_operations(std::make_shared<MemoryAccount>());
  for (const Activation activation : all_activations) {
    const auto values_on = [&](Operations& ops) {
      Bench bench(ops, false);
      const Tensor xt = bench.input(x);
      Tensor out = bench.output(x.shape), dx = bench.output(x.shape);
      ops.activate(activation, xt, out);
      ops.activate_backward(activation, xt, bench.input(ones), dx);
      return std::pair(bench.read(out), bench.read(dx));
    };
    const auto [expected, expected_slope] = values_on(*reference);
    on_every_table([&, &values = expected, &slopes = expected_slope](Operations& ops) {
      const float tolerance = ops.dtype() == DType::bf16 ? 4e-3F : 1e-5F;
      const auto [found, slope] = values_on(ops);
      for (size_t i = 0; i < points.size(); ++i) {
        CAPTURE(static_cast<int>(activation), points[i]);
        // A slope passes through zero, and is of order 1 elsewhere.
        if (!(std::abs(found[i] - values[i]) <= tolerance * std::abs(values[i])))
          CHECK(found[i] == values[i]);
        if (!(std::abs(slope[i] - slopes[i]) <= tolerance)) CHECK(slope[i] == slopes[i]);
      }
    });
  }
}

namespace {

// The numbers of the rows of a part of a whole: not in order, and some beyond 32 bits.
std::vector<uint64_t> rows_of_a_part(int64_t tokens) {
  std::vector<uint64_t> rows(static_cast<size_t>(tokens));
  for (size_t i = 0; i < rows.size(); ++i)
    rows[i] = (i * 7919) % 1009 + (i % 3 == 1 ? (uint64_t{1} << 40) + (uint64_t{i} << 33) : 0);
  return rows;
}

}  // namespace

TEST_CASE("dropout conforms, its output apart or in place, to the same elements on every table",
          "[conformance]") {
  const double rate = GENERATE(0.0, 0.1, 0.5, 1.0);
  const int64_t first_column = GENERATE(0, 8, 37);
  for (const auto& [tokens, width] : sizes) {
    CAPTURE(tokens, width, rate, first_column);
    const Values x = random_values({tokens, width}, 44, 1, 3);
    const auto rows = rows_of_a_part(tokens);
    conforms([&](Bench& bench) {
      Tensor in = bench.input(x), out = bench.output(x.shape);
      bench.ops.dropout(in, rate, 0x123456789ABCDEF0, rows, first_column, out);
      bench.ops.dropout(in, rate, 0x123456789ABCDEF0, rows, first_column, in);
      CHECK(bench.read(in) == bench.read(out));
      return Outputs{bench.read(out)};
    });
  }
}

TEST_CASE("dropout drops where the host's generator says whatever part of the whole is there",
          "[conformance]") {
  const int64_t tokens = 41, width = 67;
  const uint64_t key = random_key(7, "dropout test");
  const auto rows = rows_of_a_part(tokens);
  const auto dropped = [&](int64_t token, int64_t column) {
    const uint64_t row = rows[static_cast<size_t>(token)];
    const auto words = philox4x32(
        {static_cast<uint32_t>(row), static_cast<uint32_t>(row >> 32), static_cast<uint32_t>(column / 4), 0},
        {static_cast<uint32_t>(key), static_cast<uint32_t>(key >> 32)});
    return static_cast<double>(words[static_cast<size_t>(column % 4)]) < 0.25 * 0x1p32;
  };
  on_every_table([&](Operations& ops) {
    Bench bench(ops, true);
    Tensor x = bench.input({{tokens, width}, std::vector<float>(static_cast<size_t>(tokens * width), 3)});
    for (const auto& [first, last] : {std::pair{0, 13}, {13, 41}})
      for (const auto& [left, right] : {std::pair{0, 24}, {24, 50}, {50, 67}}) {
        Tensor part = x.rows(first, last).columns(left, right);
        ops.dropout(part, 0.25, key, std::span(rows).subspan(static_cast<size_t>(first), part.dim(0)), left,
                    part);
      }
    const std::vector<float> found = bench.read(x);
    int64_t wrong = 0, gone = 0;
    for (int64_t i = 0; i < tokens * width; ++i) {
      const bool zero = dropped(i / width, i % width);
      gone += zero ? 1 : 0;
      if (found[static_cast<size_t>(i)] != (zero ? 0.0F : 4.0F)) ++wrong;
    }
    CHECK(wrong == 0);
    CHECK(gone == Approx(0.25 * 41 * 67).epsilon(0.1));
    CHECK(bench.padding_intact());
  });
}

TEST_CASE("dropout's masks of other keys and other rows have nothing to do with each other",
          "[conformance]") {
  const int64_t width = 4000;
  on_every_table([&](Operations& ops) {
    Bench bench(ops, false);
    const Tensor ones = bench.input({{2, width}, std::vector<float>(static_cast<size_t>(2 * width), 1)});
    const auto mask = [&](uint64_t key, uint64_t row) {
      Tensor out = bench.output(Shape{2, width});
      ops.dropout(ones, 0.5, key, std::vector<uint64_t>{row, row + 1}, 0, out);
      return bench.read(out);
    };
    const std::vector<float> one = mask(1, 5), other_key = mask(2, 5), next_row = mask(1, 6);
    const auto agree = [&](const std::vector<float>& a, size_t at, const std::vector<float>& b,
                           size_t there) {
      int64_t same = 0;
      for (size_t i = 0; i < static_cast<size_t>(width); ++i) same += a[at + i] == b[there + i] ? 1 : 0;
      return same;
    };
    const auto whole = static_cast<size_t>(width);
    CHECK(agree(one, whole, next_row, 0) == width);
    // 4 standard deviations of 4,000 fair coins.
    CHECK(std::abs(agree(one, 0, other_key, 0) - width / 2) < 127);
    CHECK(std::abs(agree(one, 0, one, whole) - width / 2) < 127);
  });
}

TEST_CASE("cross_entropy conforms and adds the same loss", "[conformance]") {
  for (const auto& [tokens, vocab] : sizes) {
    CAPTURE(tokens, vocab);
    const Values logits = random_values({tokens, vocab}, 29, 4);
    auto labels = random_integers(static_cast<size_t>(tokens), vocab, 30);
    for (size_t i = 0; i < labels.size(); i += 3) labels[i] = ignored_label;
    if (!labels.empty()) labels.back() = 0;
    conforms([&](Bench& bench) {
      Tensor x = bench.input(logits);
      const double loss = cross_entropy(bench.ops, x, labels, 0.125);
      return Outputs{bench.read(x), {static_cast<float>(loss)}};
    });
  }
}

namespace {

// One shard of several: its statistics, then its gradient by the statistics of all.
Outputs sharded_cross_entropy(Bench& bench, const Values& logits, std::span<const int32_t> labels,
                              const std::vector<int64_t>& starts) {
  const int64_t tokens = logits.shape[0], shards = static_cast<int64_t>(starts.size()) - 1;
  Tensor all = bench.input(logits);
  Tensor statistics = bench.ops.empty({shards, tokens, 3}, DType::f64, Category::workspace);
  bench.ops.fill(statistics, std::numeric_limits<double>::quiet_NaN());
  Outputs outputs;
  for (int64_t r = 0; r < shards; ++r) {
    const auto i = static_cast<size_t>(r);
    Tensor of_shard = statistics.rows(r, r + 1).reshape({tokens, 3});
    bench.ops.softmax_statistics(all.columns(starts[i], starts[i + 1]), labels, starts[i], of_shard);
  }
  outputs.push_back(bench.read(statistics));
  for (int64_t r = 0; r < shards; ++r) {
    const auto i = static_cast<size_t>(r);
    Tensor shard = all.columns(starts[i], starts[i + 1]);
    const double loss = cross_entropy_from_statistics(bench.ops, shard, labels, starts[i], statistics, 0.125);
    outputs.push_back({static_cast<float>(loss)});
  }
  outputs.push_back(bench.read(all));
  return outputs;
}

}  // namespace

TEST_CASE("cross_entropy over shards of the vocabulary conforms", "[conformance]") {
  for (const auto& [tokens, vocab] : sizes) {
    const std::vector<std::vector<int64_t>> all{
        {0, vocab}, {0, vocab / 2, vocab}, {0, vocab / 5, vocab / 3, vocab / 3, vocab}};
    for (const auto& starts : all) {
      CAPTURE(tokens, vocab, starts);
      const Values logits = random_values({tokens, vocab}, 38, 4);
      auto labels = random_integers(static_cast<size_t>(tokens), vocab, 39);
      for (size_t i = 0; i < labels.size(); i += 3) labels[i] = ignored_label;
      if (!labels.empty()) labels.back() = 0;
      // A shard without columns has -infinity for its largest logit, which has no norm.
      conforms([&](Bench& bench) {
        Outputs outputs = sharded_cross_entropy(bench, logits, labels, starts);
        for (float& value : outputs.front())
          if (value == -std::numeric_limits<float>::infinity()) value = -1e3F;
        return outputs;
      });
    }
  }
}

namespace {

// Multiples of 1/4, which every dtype has, so that all tables see the same logits.
Values exact_logits(int64_t tokens, int64_t vocab) {
  Values logits = random_values({tokens, vocab}, 61, 3);
  for (float& value : logits.data) value = std::round(value * 4) / 4;
  return logits;
}

// gumbel_max of the shards that begin at `starts`, [shards, tokens, 2].
std::vector<double> gumbel_max_of(Bench& bench, const Values& logits, std::span<const uint64_t> rows,
                                  const std::vector<int64_t>& starts) {
  const Tensor all = bench.input(logits);
  const int64_t tokens = logits.shape[0];
  std::vector<double> found;
  for (size_t i = 0; i + 1 < starts.size(); ++i) {
    Tensor best = bench.ops.empty({tokens, 2}, DType::f64, Category::workspace);
    bench.ops.fill(best, std::numeric_limits<double>::quiet_NaN());
    bench.ops.gumbel_max(all.columns(starts[i], starts[i + 1]), starts[i], 0xFEDCBA9876543210, rows, best);
    for (const double x : bench.ops.read(best.reshape({2 * tokens})).value()) found.push_back(x);
  }
  return found;
}

}  // namespace

TEST_CASE("gumbel_max finds the same ids on every table, of the whole vocabulary or over its shards",
          "[conformance]") {
  for (const auto& [tokens, vocab] : sizes) {
    if (vocab == 0) continue;
    CAPTURE(tokens, vocab);
    const Values logits = exact_logits(tokens, vocab);
    const auto rows = rows_of_a_part(tokens);
    const auto reference = make_reference_operations(std::make_shared<MemoryAccount>());
    Bench exact(*reference, false);
    const std::vector<double> expected = gumbel_max_of(exact, logits, rows, {0, vocab});
    on_every_table([&](Operations& ops) {
      Bench bench(ops, true);
      const auto same = [&](const std::vector<double>& found) {
        for (size_t i = 0; i < expected.size(); i += 2) {
          if (found[i + 1] != expected[i + 1]) return false;
          if (std::abs(found[i] - expected[i]) > 1e-12 * (1 + std::abs(expected[i]))) return false;
        }
        return found.size() == expected.size();
      };
      CHECK(same(gumbel_max_of(bench, logits, rows, {0, vocab})));
      const auto shards = gumbel_max_of(bench, logits, rows, {0, vocab / 5, vocab / 3, vocab / 3, vocab});
      std::vector<double> best(shards.begin(), shards.begin() + 2 * tokens);
      for (size_t i = 0; i < shards.size(); i += 2) {
        const size_t token = i % best.size();
        if (!(shards[i] > best[token])) continue;
        best[token] = shards[i];
        best[token + 1] = shards[i + 1];
      }
      CHECK(same(best));
    });
  }
}

TEST_CASE("gumbel_max draws each id as often as the softmax says", "[conformance]") {
  constexpr int64_t tokens = 2000;
  const std::vector<float> logits{0, 1.5F, -1, 2, 0.25F, -std::numeric_limits<float>::infinity(), 1};
  Values rows_of_logits{{tokens, 7}, {}};
  for (int64_t i = 0; i < tokens; ++i)
    rows_of_logits.data.insert(rows_of_logits.data.end(), logits.begin(), logits.end());
  std::vector<uint64_t> rows(tokens);
  for (size_t i = 0; i < rows.size(); ++i) rows[i] = 1'000'000 + i;
  double sum = 0;
  for (const float logit : logits) sum += std::exp(static_cast<double>(logit));
  on_every_table([&](Operations& ops) {
    Bench bench(ops, false);
    const std::vector<double> found = gumbel_max_of(bench, rows_of_logits, rows, {0, 7});
    std::vector<double> counts(7);
    for (size_t i = 1; i < found.size(); i += 2) counts[static_cast<size_t>(found[i])] += 1;
    CHECK(counts[5] == 0);
    double chi_squared = 0;
    for (size_t i = 0; i < 7; ++i) {
      const double expected = tokens * std::exp(static_cast<double>(logits[i])) / sum;
      if (expected > 0) chi_squared += (counts[i] - expected) * (counts[i] - expected) / expected;
    }
    CHECK(chi_squared < 20.5);  // 0.1 % of draws of five degrees of freedom are above
  });
}

TEST_CASE("gumbel_max of logits that are no numbers is the first id", "[conformance]") {
  const float nan = std::numeric_limits<float>::quiet_NaN(), least = -std::numeric_limits<float>::infinity();
  on_every_table([&](Operations& ops) {
    Bench bench(ops, false);
    Tensor logits = bench.input({{3, 2}, {nan, nan, least, least, nan, 0}});
    Tensor best = ops.empty({3, 2}, DType::f64, Category::workspace);
    ops.gumbel_max(logits, 40, 7, std::vector<uint64_t>{5, 6, 7}, best);
    const std::vector<double> found = ops.read(best.reshape({6})).value();
    CHECK(found[0] == -std::numeric_limits<double>::infinity());
    CHECK(found[1] == 40);
    CHECK(found[2] == -std::numeric_limits<double>::infinity());
    CHECK(found[3] == 40);
    CHECK(std::isfinite(found[4]));
    CHECK(found[5] == 41);
  });
}

TEST_CASE("block_sums_of_squares conforms", "[conformance]") {
  for (const int64_t numel :
       {int64_t{0}, int64_t{1}, int64_t{31}, reduction_block, 5 * reduction_block + 17}) {
    CAPTURE(numel);
    const Values x = random_values({numel}, 31);
    conforms([&](Bench& bench) {
      std::vector<float> sums;
      for (const double sum : block_sums_of_squares(bench.ops, bench.input(x)))
        sums.push_back(static_cast<float>(sum));
      return Outputs{sums};
    });
  }
}

TEST_CASE("sophia's estimate of the curvature conforms, and has no part in other states", "[conformance]") {
  const ElementwiseRule& sophia = elementwise_rule("sophia");
  const CurvatureEstimate estimate = sophia.with(with_defaults(sophia.options, {})).estimate;
  REQUIRE(estimate.interval == 10);
  REQUIRE(formula_properties(estimate.formula).states == 0);
  const Values gradient = random_values({5003}, 34, 0.1);
  conforms([&](Bench& bench) {
    Tensor curvature = bench.statistics(Shape{5003});
    bench.ops.fill(curvature, 0);
    for (int i = 0; i < 3; ++i)
      update(bench.ops, curvature, bench.gradient(gradient, true), {},
             {estimate.formula, estimate.factors(1000), doubles(bench.ops, {1}), {}});
    return Outputs{bench.read(curvature)};
  });
}

TEST_CASE("every update rule conforms over several steps", "[conformance]") {
  for (const RuleCase& rule : all_rules_to_test())
    for (const int64_t numel : {int64_t{0}, int64_t{1}, int64_t{37}, int64_t{70001}}) {
      CAPTURE(rule.rule, numel);
      const Values weight = random_values({numel}, 32), gradient = random_values({numel}, 33, 0.1);
      conforms([&](Bench& bench) {
        const auto states = [&] {
          std::vector<Tensor> all;
          for (int i = 0; i < states_of(step_of(rule.rule, rule.options, 1)); ++i) {
            all.push_back(bench.statistics(Shape{numel}));
            bench.ops.fill(all.back(), 0);
          }
          return all;
        };
        // A weight of its own, and one with a master; three ranges of each.
        const Tensor g = bench.gradient(gradient, true), own = bench.input(weight),
                     master = bench.table(weight), rounded = bench.output(Shape{numel});
        const std::vector<Tensor> of_own = states(), of_master = states();
        std::vector<UpdateTensors> ranges;
        for (const auto& [begin, end] :
             {std::pair{int64_t{0}, numel / 3}, {numel / 3, numel / 2}, {numel / 2, numel}}) {
          const auto part = [begin = begin, end = end](const Tensor& x) { return x.rows(begin, end); };
          const auto parts = [&](const std::vector<Tensor>& all) {
            std::vector<Tensor> cut;
            for (const Tensor& each : all) cut.push_back(part(each));
            return cut;
          };
          ranges.push_back({part(own), part(g), parts(of_own), {}});
          ranges.push_back({part(master), part(g), parts(of_master), part(rounded)});
        }
        for (int64_t step = 1; step <= 3; ++step)
          bench.ops.update(ranges, step_of(rule.rule, rule.options, step, doubles(bench.ops, {0.3})));
        Outputs outputs{bench.read(own), bench.read(master), bench.read(rounded)};
        for (const auto& all : {of_own, of_master})
          for (const Tensor& state : all) outputs.push_back(bench.read(state));
        return outputs;
      });
    }
}
