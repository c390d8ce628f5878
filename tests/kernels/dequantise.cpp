// Numbers of codes: every table against the reference, and parts of a matrix against the whole.
#include <algorithm>

#include "kernels/held_matrix.hpp"
#include "tests/catch.hpp"
#include "tests/kernels/support.hpp"

using namespace collie;
using namespace collie::test;

namespace {

const std::vector<Quantisation> quantisations{
    {QuantisedKind::nf4, false, 64}, {QuantisedKind::nf4, true, 64},  {QuantisedKind::nf4, true, 32},
    {QuantisedKind::fp4, true, 128}, {QuantisedKind::fp4, false, 32}, {QuantisedKind::int8, false, 64}};

void piece_by_piece(int64_t count, int64_t piece, const std::function<void(int64_t, int64_t)>& f) {
  for (int64_t first = 0; first < count; first += piece) f(first, std::min(count, first + piece));
}

WholeQuantised random_matrix(const Quantisation& quantisation, int64_t rows, int64_t columns) {
  const Values values = random_values({rows, columns}, 5);
  return quantise(
      quantisation, rows, columns,
      [&](int64_t begin, std::span<float> some) {
        std::copy_n(values.data.begin() + begin, some.size(), some.begin());
      },
      piece_by_piece);
}

QuantisedMatrix held(Operations& ops, const WholeQuantised& whole, const HeldPart& part) {
  QuantisedMatrix matrix = make_quantised_matrix(ops, whole.quantisation, part);
  fill_quantised_matrix(ops, whole, part, matrix);
  return matrix;
}

HeldPart all_of(const WholeQuantised& whole) {
  return {whole.rows, whole.columns, {{0, whole.rows}}, 0, whole.columns};
}

}  // namespace

TEST_CASE("dequantise conforms on tiles of any place and size", "[conformance]") {
  for (const Quantisation& quantisation : quantisations)
    for (const Shape& shape : {Shape{1, 1}, Shape{9, 37}, Shape{33, 128}, Shape{5, 700}}) {
      CAPTURE(std::string(name(quantisation.kind)), quantisation.double_quant, quantisation.block_size,
              shape.to_string());
      const WholeQuantised whole = random_matrix(quantisation, shape[0], shape[1]);
      conforms([&](Bench& bench) {
        const QuantisedMatrix matrix = held(bench.ops, whole, all_of(whole));
        Tensor all = bench.output(shape), none = bench.output(Shape{0, shape[1]});
        bench.ops.dequantise(matrix, 0, 0, all);
        bench.ops.dequantise(matrix, shape[0], 0, none);
        const int64_t row = shape[0] / 3, column = shape[1] / 2;
        Tensor tile = bench.output(Shape{shape[0] - row, shape[1] - column});
        bench.ops.dequantise(matrix, row, column, tile);
        return Outputs{bench.read(all), bench.read(tile)};
      });
    }
}

TEST_CASE("a part of a quantised matrix has the whole's numbers, in whatever runs of rows", "[dequantise]") {
  for (const Quantisation& quantisation : quantisations) {
    CAPTURE(std::string(name(quantisation.kind)), quantisation.double_quant, quantisation.block_size);
    const WholeQuantised whole = random_matrix(quantisation, 24, 90);
    std::vector<float> numbers(static_cast<size_t>(whole.elements()));
    whole.decode(0, numbers);
    on_every_table([&](Operations& ops) {
      for (const HeldPart& part :
           {all_of(whole), HeldPart{24, 90, {{6, 6}}, 0, 90}, HeldPart{24, 90, {{0, 24}}, 45, 45},
            HeldPart{24, 90, {{3, 2}, {11, 2}, {19, 2}}, 0, 90}, HeldPart{24, 90, {{5, 1}}, 31, 2}}) {
        const QuantisedMatrix matrix = held(ops, whole, part);
        Bench bench(ops, true);
        Tensor tile = bench.output(Shape{part.rows(), part.columns});
        ops.dequantise(matrix, 0, 0, tile);
        CHECK(bench.padding_intact());
        std::vector<float> expected;
        for (const RowRun& run : part.runs)
          for (int64_t row = run.first; row < run.first + run.count; ++row)
            for (int64_t column = 0; column < part.columns; ++column)
              expected.push_back(numbers[static_cast<size_t>(row * 90 + part.first_column + column)]);
        if (ops.dtype() == DType::f32)
          CHECK(bench.read(tile) == expected);
        else
          CHECK(relative_error(bench.read(tile), expected) < 1e-2);
      }
    });
  }
}

TEST_CASE("a matrix that does not hold what is asked for is refused", "[dequantise]") {
  on_every_table([&](Operations& ops) {
    const WholeQuantised whole = random_matrix({QuantisedKind::nf4, true, 64}, 4, 64);
    QuantisedMatrix matrix = held(ops, whole, all_of(whole));
    Tensor tile = ops.empty({2, 64}, Category::workspace);
    CHECK(says(complaint([&] { ops.dequantise(matrix, 3, 0, tile); }), "[2, 64] from row 3"));
    CHECK(says(complaint([&] { ops.dequantise(matrix, 0, 1, tile); }), "column 1 of [4, 64]"));
    matrix.places = Tensor();
    CHECK(says(complaint([&] { ops.dequantise(matrix, 0, 0, tile); }), "places"));
  });
}
