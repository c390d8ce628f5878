// The operation table's conformance suite: every operation on every implementation against the double
// reference, on random shapes with odd sizes, dense and strided, outputs poisoned, accumulating or not. Its
// other parts are in conformance_*.cpp.
#include "tests/catch.hpp"
#include "tests/kernels/support.hpp"

using namespace collie;
using namespace collie::test;

TEST_CASE("fill, copy, add and scale conform", "[conformance]") {
  for (const auto& [rows, width] : matrix_sizes) {
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
  for (const auto& [rows, width] : matrix_sizes) {
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
  for (const auto& [rows, width] : matrix_sizes)
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
  for (const auto& [rows, width] : matrix_sizes) {
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
  for (const auto& [rows, width] : matrix_sizes) {
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
  for (const auto& [tokens, hidden] : matrix_sizes)
    embedding_conforms(tokens, hidden, random_integers(static_cast<size_t>(tokens), 23, 10), 23, accumulate);
}

TEST_CASE("embedding of a shard of the table conforms where ids are absent", "[conformance]") {
  const bool accumulate = GENERATE(false, true);
  const int32_t step = GENERATE(1, 2, 3);  // every id is absent, every other, every third
  for (const auto& [tokens, hidden] : matrix_sizes) {
    auto ids = random_integers(static_cast<size_t>(tokens), 23, 10);
    for (size_t i = 0; i < ids.size(); i += static_cast<size_t>(step)) ids[i] = absent_id;
    embedding_conforms(tokens, hidden, ids, 23, accumulate);
  }
}

TEST_CASE("rms_norm and its backward conform", "[conformance]") {
  const bool accumulate = GENERATE(false, true);
  const double offset = GENERATE(0.0, 1.0);
  for (const auto& [tokens, hidden] : matrix_sizes) {
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
  for (const auto& [tokens, hidden] : matrix_sizes) {
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
  for (const auto& [tokens, hidden] : matrix_sizes) {
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
  for (const auto& [tokens, hidden] : matrix_sizes) {
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
  const RotaryPairs pairs = GENERATE(RotaryPairs::halves, RotaryPairs::neighbours);
  const std::vector<Sizes> all{{0, 2, 8, 8},    {1, 1, 2, 2},   {7, 3, 6, 6},     {65, 4, 64, 64},
                               {33, 2, 80, 80}, {9, 5, 42, 42}, {300, 8, 32, 32}, {33, 4, 64, 16},
                               {7, 3, 80, 32},  {9, 2, 7, 2},   {5, 3, 20, 12},   {2, 2, 600, 300}};
  for (const auto& [tokens, heads, head_dim, rotated] : all) {
    CAPTURE(inverse, pairs, tokens, heads, head_dim, rotated);
    const int64_t positions_known = 50;
    const Values x = random_values({tokens, heads, head_dim}, 15);
    const Values cosines = random_values({positions_known, rotated / 2}, 16),
                 sines = random_values({positions_known, rotated / 2}, 17);
    const auto positions = random_integers(static_cast<size_t>(tokens), positions_known, 18);
    conforms([&](Bench& bench) {
      Tensor xt = bench.input(x);
      bench.ops.rope(xt, bench.table(cosines), bench.table(sines), positions, inverse, pairs);
      return Outputs{bench.read(xt)};
    });
  }
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
