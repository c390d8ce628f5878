// Products of bfloat16 matrices, in both ways, against sums in double of the same numbers.
#include <fmt/format.h>

#include <cmath>

#include "kernels/cpu/bfloat16_product.hpp"
#include "tests/catch.hpp"
#include "tests/kernels/support.hpp"

using namespace collie;
using namespace collie::test;

namespace {

struct Case {
  GemmForm form;
  int64_t m, n, k;
  bool narrow, accumulate;

  bool a_transposed() const { return form == GemmForm::tn; }
  bool b_transposed() const { return form == GemmForm::nt; }
  std::string name() const {
    const char* const of_form = form == GemmForm::nn ? "nn" : form == GemmForm::nt ? "nt" : "tn";
    return fmt::format("{} [{}, {}] of {} terms into {}{}", of_form, m, n, k, narrow ? "bfloat16" : "float32",
                       accumulate ? ", accumulated" : "");
  }
};

// Whole numbers, so that no order of the sums rounds: |c| < 2^24, and every factor is a bfloat16 number.
std::vector<float> small_integers(int64_t count, uint64_t seed) {
  std::vector<float> values;
  for (const int32_t each : random_integers(static_cast<size_t>(count), 15, seed))
    values.push_back(static_cast<float>(each - 7));
  return values;
}

struct Matrices {
  Tensor a, b, c;
};

// c begins with small integers, too.
Matrices matrices(Operations& ops, const Case& x) {
  const auto make = [&](int64_t rows, int64_t columns, DType dtype, uint64_t seed) {
    Tensor wide = ops.empty({rows, columns + 7}, dtype, Category::activations);
    ops.fill(wide, 0);
    Tensor matrix = wide.columns(3, 3 + columns);
    ops.upload(small_integers(rows * columns, seed), matrix);
    return matrix;
  };
  return {x.a_transposed() ? make(x.k, x.m, DType::bf16, 1) : make(x.m, x.k, DType::bf16, 1),
          x.b_transposed() ? make(x.n, x.k, DType::bf16, 2) : make(x.k, x.n, DType::bf16, 2),
          make(x.m, x.n, x.narrow ? DType::bf16 : DType::f32, 3)};
}

std::vector<float> expected_product(const Case& x) {
  const std::vector<float> a = small_integers(x.m * x.k, 1), b = small_integers(x.k * x.n, 2),
                           c = small_integers(x.m * x.n, 3);
  std::vector<float> product;
  for (int64_t i = 0; i < x.m; ++i)
    for (int64_t j = 0; j < x.n; ++j) {
      double sum = x.accumulate ? static_cast<double>(c[static_cast<size_t>(i * x.n + j)]) : 0;
      for (int64_t t = 0; t < x.k; ++t) {
        const auto of_a = static_cast<size_t>(x.a_transposed() ? t * x.m + i : i * x.k + t);
        const auto of_b = static_cast<size_t>(x.b_transposed() ? j * x.k + t : t * x.n + j);
        sum += static_cast<double>(a[of_a]) * static_cast<double>(b[of_b]);
      }
      const auto exact = static_cast<float>(sum);
      product.push_back(x.narrow ? host::from_bf16(host::to_bf16(exact)) : exact);
    }
  return product;
}

std::vector<Case> cases() {
  std::vector<Case> all;
  for (const GemmForm form : {GemmForm::nn, GemmForm::nt, GemmForm::tn})
    for (const bool narrow : {false, true})
      for (const bool accumulate : {false, true})
        for (const auto& [m, n, k] : {std::tuple<int64_t, int64_t, int64_t>{1, 1, 1},
                                      {1, 300, 70},
                                      {33, 1, 1},
                                      {65, 257, 513},
                                      {130, 40, 1100}})
          all.push_back({form, m, n, k, narrow, accumulate});
  return all;
}

}  // namespace

TEST_CASE("a product of bfloat16 matrices is summed in float32 and rounded once", "[bfloat16]") {
  for (const Case& x : cases()) {
    CAPTURE(x.name());
    const std::vector<float> expected = expected_product(x);
    on_every_table([&](Operations& ops) {
      if (ops.dtype() != DType::bf16) return;
      Matrices on = matrices(ops, x);
      ops.gemm(x.form, on.a, on.b, on.c, x.accumulate);
      std::vector<float> found(expected.size());
      ops.download(on.c, found);
      CHECK(found == expected);
    });
  }
}

TEST_CASE("products of more shapes than are kept are right", "[bfloat16]") {
  on_every_table([&](Operations& ops) {
    if (ops.dtype() != DType::bf16) return;
    for (int64_t k = 1; k <= 600; ++k) {
      Tensor a = ops.empty({1, k}, Category::activations), b = ops.empty({1, k}, Category::activations);
      Tensor c = ops.empty({1, 1}, DType::f32, Category::activations);
      ops.fill(a, 1);
      ops.fill(b, 2);
      ops.gemm(GemmForm::nt, a, b, c, false);
      REQUIRE(*c.data<float>() == static_cast<float>(2 * k));
    }
  });
}
