// The reference against values worked out by hand and formulas of its own.
#include <cmath>

#include "tests/catch.hpp"
#include "tests/kernels/support.hpp"

using namespace collie;
using namespace collie::test;

namespace {

class Reference {
 public:
  Tensor of(const Values& values) {
    Tensor x = ops->empty(values.shape, Category::activations);
    ops->upload(values.data, x);
    return x;
  }
  Tensor blank(const Shape& shape) {
    Tensor x = ops->empty(shape, Category::activations);
    ops->fill(x, std::numeric_limits<double>::quiet_NaN());
    return x;
  }
  std::vector<float> read(const Tensor& x) {
    std::vector<float> values(static_cast<size_t>(x.numel()));
    ops->download(x, values);
    return values;
  }
  const std::unique_ptr<Operations> ops = make_reference_operations(std::make_shared<MemoryAccount>());
};

using Floats = std::vector<float>;

}  // namespace

TEST_CASE("gemm by hand", "[known]") {
  Reference r;
  const Tensor a = r.of({{2, 3}, {1, 2, 3, 4, 5, 6}}), b = r.of({{3, 2}, {7, 8, 9, 10, 11, 12}});
  Tensor c = r.blank({2, 2});
  r.ops->gemm(GemmForm::nn, a, b, c, false);
  CHECK(r.read(c) == Floats{58, 64, 139, 154});
  r.ops->gemm(GemmForm::nn, a, b, c, true);
  CHECK(r.read(c) == Floats{116, 128, 278, 308});
  const Tensor bt = r.of({{2, 3}, {7, 9, 11, 8, 10, 12}});
  r.ops->gemm(GemmForm::nt, a, bt, c, false);
  CHECK(r.read(c) == Floats{58, 64, 139, 154});
  const Tensor at = r.of({{3, 2}, {1, 4, 2, 5, 3, 6}});
  r.ops->gemm(GemmForm::tn, at, b, c, false);
  CHECK(r.read(c) == Floats{58, 64, 139, 154});
}

TEST_CASE("rms_norm by hand", "[known]") {
  Reference r;
  const Tensor x = r.of({{1, 2}, {3, 4}}), weight = r.of({{2}, {1, 2}});
  Tensor y = r.blank({1, 2}), inverse_rms = r.blank({1});
  r.ops->rms_norm(x, weight, 0, y, inverse_rms);
  CHECK(inverse_rms.data<double>()[0] == Approx(1 / std::sqrt(12.5)));
  CHECK(y.data<double>()[0] == Approx(3 / std::sqrt(12.5)));
  CHECK(y.data<double>()[1] == Approx(8 / std::sqrt(12.5)));
}

TEST_CASE("rope turns the halves of a head, and turns them back", "[known]") {
  Reference r;
  Tensor x = r.of({{1, 1, 4}, {1, 2, 3, 4}});
  const Tensor cosines = r.of({{2, 2}, {1, 1, 0, 1}}),
               sines = r.of({{2, 2}, {0, 0, 1, 0}});  // 90° and 0° at 1
  const std::vector<int32_t> positions{1};
  r.ops->rope(x, cosines, sines, positions, false);
  CHECK(r.read(x) == Floats{-3, 2, 1, 4});
  r.ops->rope(x, cosines, sines, positions, true);
  CHECK(r.read(x) == Floats{1, 2, 3, 4});
}

TEST_CASE("attention by hand: one key gives its value, equal scores the mean", "[known]") {
  Reference r;
  const Tensor q = r.of({{3, 1, 1}, {0, 0, 0}}), k = r.of({{3, 1, 1}, {5, 6, 7}});
  const Tensor v = r.of({{3, 1, 1}, {10, 20, 40}});
  Tensor out = r.blank({3, 1, 1}), log_sum_exp = r.blank({3, 1});
  SECTION("one document") {
    r.ops->attention(q, k, v, {{0, 3}, {0, 3}}, 1, out, log_sum_exp);
    CHECK(out.data<double>()[0] == Approx(10));
    CHECK(out.data<double>()[1] == Approx(15));
    CHECK(out.data<double>()[2] == Approx(70.0 / 3));
    CHECK(log_sum_exp.data<double>()[2] == Approx(std::log(3)));
  }
  SECTION("documents do not see each other") {
    r.ops->attention(q, k, v, {{0, 1, 3}, {0, 1, 3}}, 1, out, log_sum_exp);
    CHECK(r.read(out) == Floats{10, 20, 30});
  }
  SECTION("a cached query stands at the last key") {
    Tensor one = out.rows(0, 1), lse = log_sum_exp.rows(0, 1);
    r.ops->attention(q.rows(0, 1), k, v, {{0, 1}, {0, 3}}, 1, one, lse);
    CHECK(one.data<double>()[0] == Approx(70.0 / 3));
  }
}

TEST_CASE("swiglu by hand", "[known]") {
  Reference r;
  const Tensor gate = r.of({{1, 2}, {0, 1}}), up = r.of({{1, 2}, {5, 2}});
  Tensor out = r.blank({1, 2});
  r.ops->swiglu(gate, up, out);
  CHECK(out.data<double>()[0] == 0);
  CHECK(out.data<double>()[1] == Approx(2 / (1 + std::exp(-1.0))));
}

TEST_CASE("cross_entropy of equal logits is the logarithm of the vocabulary", "[known]") {
  Reference r;
  Tensor logits = r.of({{3, 4}, {1, 1, 1, 1, 2, 2, 2, 2, 9, 9, 9, 9}});
  const std::vector<int32_t> labels{0, ignored_label, 3};
  CHECK(r.ops->cross_entropy(logits, labels, 1) == Approx(2 * std::log(4)));
  CHECK(r.read(logits) == Floats{-0.75, 0.25, 0.25, 0.25, 0, 0, 0, 0, 0.25, 0.25, 0.25, -0.75});
}

TEST_CASE("adamw's first step is the rate, in the gradient's direction", "[known]") {
  Reference r;
  Tensor w = r.of({{2}, {1, 1}}), m = r.of({{2}, {0, 0}}), v = r.of({{2}, {0, 0}});
  const Tensor g = r.of({{2}, {8, -2}});
  r.ops->adamw(w, g, m, v, {0.1, 0.9, 0.95, 0, 0.5, 1, 0.5});
  // Decay 1 - 0.1 · 0.5 first; then m̂ = g and sqrt(v̂) = |g|.
  CHECK(w.data<double>()[0] == Approx(0.95 - 0.1));
  CHECK(w.data<double>()[1] == Approx(0.95 + 0.1));
  CHECK(m.data<double>()[0] == Approx(0.1 * 4));
  CHECK(v.data<double>()[0] == Approx(0.05 * 16));
}

TEST_CASE("uploads and downloads convert to and from every dtype", "[known]") {
  const auto ops = make_cpu_operations(1, std::make_shared<MemoryAccount>());
  const Floats values{0, 1, -2, 300, 1.00390625F, 3};
  for (const DType dtype : {DType::f32, DType::f64, DType::bf16, DType::i32}) {
    CAPTURE(name(dtype));
    Tensor wide = ops->empty({2, 5}, dtype, Category::activations);
    ops->fill(wide, 7);
    Tensor x = wide.columns(1, 4);
    ops->upload(values, x);
    Floats found(6), all(10);
    ops->download(x, found);
    ops->download(wide, all);
    Floats expected = values;
    if (dtype == DType::bf16) expected[4] = 1.0F;  // halfway: to even
    if (dtype == DType::i32) expected[4] = 1;
    CHECK(found == expected);
    CHECK(all[0] == 7);
    CHECK(all[4] == 7);
  }
}
