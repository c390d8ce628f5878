// Rules with factored second moments: what operations on tiles compute, and that cuts change no bit.
#include <cstring>

#include "kernels/exact_sum.hpp"
#include "tests/catch.hpp"
#include "tests/kernels/support.hpp"

using namespace collie;
using namespace collie::test;

namespace {

constexpr double not_a_factor = std::numeric_limits<double>::quiet_NaN();

// A matrix whose rows and columns are of very different sizes.
Values uneven_matrix(int64_t rows, int64_t columns, uint64_t seed) {
  Values values = random_values({rows, columns}, seed);
  for (int64_t i = 0; i < rows; ++i)
    for (int64_t j = 0; j < columns; ++j)
      values.data[static_cast<size_t>(i * columns + j)] *=
          std::ldexp(1.0F, static_cast<int>((i * 7 + j * 3) % 24) - 12);
  return values;
}

Tensor zeros(Operations& ops, const Shape& shape, DType dtype) {
  Tensor x = ops.empty(shape, dtype, Category::workspace);
  ops.fill(x, 0);
  return x;
}

// Rows [first, last) of a [rows, columns] matrix as a tile with lines for rows, then columns.
MatrixTile rows_of(const Tensor& matrix, int64_t first, int64_t last) {
  return {.values = matrix.rows(first, last),
          .row_line = first,
          .column_line = matrix.dim(0),
          .row_elements = matrix.dim(1),
          .column_elements = matrix.dim(0)};
}

struct Lines {
  std::vector<float> maxima;
  std::vector<double> sums;
};
Lines lines_of(Operations& ops, const std::vector<MatrixTile>& tiles, int64_t lines, const Tensor& factor) {
  Tensor maxima = zeros(ops, {lines}, ops.accumulation_dtype()), sums = zeros(ops, {lines}, DType::f64);
  ops.line_maxima(tiles, factor, maxima);
  ops.line_sums_of_squares(tiles, factor, {}, maxima, sums);
  std::vector<float> values(static_cast<size_t>(lines));
  ops.download(maxima, values);
  return {values, ops.read(sums).value()};
}

std::vector<float> rounded(const std::vector<double>& values) {
  return {values.begin(), values.end()};
}

struct Case {
  int64_t rows, columns;
  double momentum;
  bool vector;
};

// Three steps of one matrix or vector, with a weight of its own and with a master.
Outputs factored_steps(Bench& bench, const Case& of) {
  Operations& ops = bench.ops;
  const int64_t rows = of.rows, columns = of.columns;
  const DType wide = ops.accumulation_dtype();
  const Values weight = random_values({rows, columns}, 1, 0.1);
  Tensor own = bench.dense_input(weight), rounded_copy = bench.dense_output({rows, columns});
  Tensor master = bench.statistics(weight);
  Tensor momentum, momentum_of_master;
  if (of.momentum != 0) {
    momentum = zeros(ops, {rows, columns}, wide);
    momentum_of_master = zeros(ops, {rows, columns}, wide);
  }
  FactoredMatrix matrix{
      rows, columns, 0, 0, of.vector ? Tensor() : zeros(ops, {rows}, wide), zeros(ops, {columns}, wide)};
  for (int step = 1; step <= 3; ++step) {
    const Tensor gradient = bench.dense_input(uneven_matrix(rows, columns, static_cast<uint64_t>(10 + step)));
    const FactoredStep by{.beta = 1 - std::pow(step, -0.8),
                          .eps = 1e-30,
                          .clip_threshold = 1,
                          .rate = 0.05,
                          .least_scale = 1e-3,
                          .weight_decay = 0.1,
                          .momentum = of.momentum};
    const Tensor factor = doubles(ops, {0.3});
    const int64_t lines = rows + columns;
    Tensor maxima = zeros(ops, {lines}, wide), sums = zeros(ops, {lines}, DType::f64);
    Tensor scales = bench.statistics(Shape{lines}), bounds = bench.statistics(Shape{rows});
    const MatrixTile whole = rows_of(gradient, 0, rows);
    ops.line_maxima({&whole, 1}, factor, maxima);
    ops.line_sums_of_squares({&whole, 1}, factor, {}, maxima, sums);
    ops.factored_moments({&matrix, 1}, by, factor, maxima, sums, scales, bounds);
    // The directions' squares, and the weights'.
    const MatrixTile direction{
        .values = gradient, .row_line = 0, .row_elements = columns, .row_scale = 0, .column_scale = rows};
    const MatrixTile weights{.values = master, .row_line = 0, .row_elements = columns, .clipped = false};
    Tensor largest = zeros(ops, {rows}, wide), squares = zeros(ops, {rows}, DType::f64),
           of_weights = zeros(ops, {rows}, DType::f64);
    ops.line_sums_of_squares({&direction, 1}, factor, scales, bounds, squares);
    ops.line_maxima({&weights, 1}, factor, largest);
    ops.line_sums_of_squares({&weights, 1}, factor, {}, largest, of_weights);
    Tensor rates = bench.statistics(Shape{1, 2});
    ops.factored_rates({&matrix, 1}, by, squares, of_weights, rates);
    std::vector<FactoredTile> tiles;
    const auto add = [&](const Tensor& w, const Tensor& m, const Tensor& copy, int64_t first, int64_t last) {
      const auto part = [&](const Tensor& x) { return x.defined() ? x.rows(first, last) : x; };
      tiles.push_back({part(w), part(gradient), part(m), part(copy), first, rows, 0, 0});
    };
    add(own, momentum, {}, 0, rows);
    add(master, momentum_of_master, rounded_copy, rows / 2, rows);
    add(master, momentum_of_master, rounded_copy, 0, rows / 2);
    ops.factored_update(tiles, by, factor, scales, rates, {});
  }
  Outputs outputs{bench.read(own), bench.read(master), bench.read(rounded_copy),
                  bench.read(matrix.column_moments)};
  if (!of.vector) outputs.push_back(bench.read(matrix.row_moments));
  if (of.momentum != 0) outputs.push_back(bench.read(momentum_of_master));
  return outputs;
}

}  // namespace

TEST_CASE("the largest values and the sums of squares of rows and columns conform", "[conformance]") {
  for (const auto& [rows, columns] : {std::pair{int64_t{1}, int64_t{1}}, {1, 301}, {257, 3}, {70, 129}}) {
    CAPTURE(rows, columns);
    const Values values = uneven_matrix(rows, columns, 5);
    conforms([&, rows = rows, columns = columns](Bench& bench) {
      const Tensor matrix = bench.dense_input(values);
      const Lines lines =
          lines_of(bench.ops, {rows_of(matrix, 0, rows)}, rows + columns, doubles(bench.ops, {0.5}));
      return Outputs{lines.maxima, rounded(lines.sums)};
    });
  }
}

TEST_CASE("sums of squares of rows and columns have the same bits however a matrix is cut", "[conformance]") {
  constexpr int64_t rows = 83, columns = 65;
  const Values values = uneven_matrix(rows, columns, 6);
  on_every_table([&](Operations& ops) {
    if (ops.dtype() == DType::f64) return;  // the reference adds plainly
    Bench bench(ops, false);
    const Tensor matrix = bench.dense_input(values);
    const Lines whole = lines_of(ops, {rows_of(matrix, 0, rows)}, rows + columns, {});
    // From the last to the first, a row cut in two.
    const MatrixTile row = rows_of(matrix, 40, 41);
    std::vector<MatrixTile> cut{rows_of(matrix, 41, rows), row, row, rows_of(matrix, 3, 40),
                                rows_of(matrix, 0, 3)};
    cut[1].values = row.values.reshape({columns}).rows(20, columns).reshape({1, columns - 20});
    cut[1].column_line += 20;
    cut[2].values = row.values.reshape({columns}).rows(0, 20).reshape({1, 20});
    const Lines parts = lines_of(ops, cut, rows + columns, {});
    CHECK(whole.maxima == parts.maxima);
    CHECK(whole.sums == parts.sums);
  });
}

TEST_CASE("a term is rounded so that sums are exact and close", "[exact]") {
  constexpr int64_t count = 4097;
  const RandomStream stream(random_key(3, "terms"));
  double forward = 0, backward = 0;
  long double exact = 0;
  const double anchor = rounding_anchor(2.0, count);
  const auto term = [&](int64_t i) { return 4 * stream.uniform(static_cast<uint64_t>(i)); };
  for (int64_t i = 0; i < count; ++i) forward += rounded_term(term(i), anchor);
  for (int64_t i = count - 1; i >= 0; --i) backward += rounded_term(term(i), anchor);
  for (int64_t i = 0; i < count; ++i) exact += static_cast<long double>(term(i));
  CHECK(forward == backward);
  const double bound_of_term = std::ldexp(4.0 * count, -51);  // as rounding_anchor() says
  CHECK(std::abs(forward - static_cast<double>(exact)) < count * bound_of_term);
  CHECK(rounded_term(0, rounding_anchor(0, 1)) == 0);
  CHECK(rounded_term(4, rounding_anchor(2, 1)) == 4);
  CHECK(std::isnan(rounded_term(not_a_factor, anchor)));
}

TEST_CASE("steps with factored moments conform, of matrices and vectors", "[conformance]") {
  for (const Case& of :
       {Case{70, 129, 0, false}, {33, 5, 0.9, false}, {1, 301, 0, true}, {1, 40, 0.5, true}}) {
    CAPTURE(of.rows, of.columns, of.momentum, of.vector);
    conforms([&](Bench& bench) { return factored_steps(bench, of); });
  }
}

TEST_CASE("a factor that is not a number keeps moments and weights of factored rules", "[conformance]") {
  on_every_table([&](Operations& ops) {
    Bench bench(ops, false);
    const DType wide = ops.accumulation_dtype();
    const Values values = random_values({3, 4}, 1);
    Tensor weight = bench.dense_input(values), gradient = bench.dense_input(random_values({3, 4}, 2));
    FactoredMatrix matrix{
        3, 4, 0, 0, bench.statistics(random_values({3}, 3)), bench.statistics(random_values({4}, 4))};
    const auto before =
        std::vector{bench.read(weight), bench.read(matrix.row_moments), bench.read(matrix.column_moments)};
    const Tensor factor = doubles(ops, {not_a_factor});
    Tensor maxima = zeros(ops, {7}, wide), sums = zeros(ops, {7}, DType::f64), scales = zeros(ops, {7}, wide),
           bounds = zeros(ops, {3}, wide), rates = zeros(ops, {1, 2}, wide);
    ops.factored_moments({&matrix, 1}, {.beta = 0.5}, factor, maxima, sums, scales, bounds);
    FactoredTile tile{weight, gradient, {}, {}, 0, 3, 0, 0};
    ops.factored_update({&tile, 1}, {.beta = 0.5}, factor, scales, rates, {});
    CHECK(before ==
          std::vector{bench.read(weight), bench.read(matrix.row_moments), bench.read(matrix.column_moments)});
  });
}
