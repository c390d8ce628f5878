// The reference against values worked out by hand and formulas of its own.
#include <cmath>

#include "tests/catch.hpp"
#include "tests/kernels/support.hpp"

using namespace collie;
using namespace collie::test;

namespace {

class KnownValues {
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
  KnownValues r;
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

TEST_CASE("clamp by hand", "[known]") {
  KnownValues r;
  constexpr float infinity = std::numeric_limits<float>::infinity();
  Tensor x = r.of({{7}, {0.25F, -0.25F, 3, -3, infinity, -infinity, std::nanf("")}});
  r.ops->clamp(x, 0.5);
  const Floats clamped = r.read(x);
  CHECK(Floats(clamped.begin(), clamped.end() - 1) == Floats{0.25F, -0.25F, 0.5F, -0.5F, 0.5F, -0.5F});
  CHECK(std::isnan(clamped.back()));
}

TEST_CASE("rms_norm by hand", "[known]") {
  KnownValues r;
  const Tensor x = r.of({{1, 2}, {3, 4}}), weight = r.of({{2}, {1, 2}});
  Tensor y = r.blank({1, 2}), inverse_rms = r.blank({1});
  r.ops->rms_norm(x, weight, 0, 0, y, inverse_rms);
  CHECK(inverse_rms.data<double>()[0] == Approx(1 / std::sqrt(12.5)));
  CHECK(y.data<double>()[0] == Approx(3 / std::sqrt(12.5)));
  CHECK(y.data<double>()[1] == Approx(8 / std::sqrt(12.5)));
}

TEST_CASE("rope turns the halves of a head, and turns them back", "[known]") {
  KnownValues r;
  Tensor x = r.of({{1, 1, 4}, {1, 2, 3, 4}});
  const Tensor cosines = r.of({{2, 2}, {1, 1, 0, 1}}),
               sines = r.of({{2, 2}, {0, 0, 1, 0}});  // 90° and 0° at 1
  const std::vector<int32_t> positions{1};
  r.ops->rope(x, cosines, sines, positions, false);
  CHECK(r.read(x) == Floats{-3, 2, 1, 4});
  r.ops->rope(x, cosines, sines, positions, true);
  CHECK(r.read(x) == Floats{1, 2, 3, 4});
}

TEST_CASE("rope turns neighbours where they are the pairs, and leaves the rest of a head", "[known]") {
  KnownValues r;
  Tensor x = r.of({{1, 1, 6}, {1, 2, 3, 4, 5, 6}});
  const Tensor cosines = r.of({{2, 2}, {1, 1, 0, 1}}),
               sines = r.of({{2, 2}, {0, 0, 1, 0}});  // 90° and 0° at 1
  const std::vector<int32_t> positions{1};
  r.ops->rope(x, cosines, sines, positions, false, RotaryPairs::neighbours);
  CHECK(r.read(x) == Floats{-2, 1, 3, 4, 5, 6});
  r.ops->rope(x, cosines, sines, positions, true, RotaryPairs::neighbours);
  CHECK(r.read(x) == Floats{1, 2, 3, 4, 5, 6});
}

TEST_CASE("attention by hand: one key gives its value, equal scores the mean", "[known]") {
  KnownValues r;
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
  SECTION("not causal, every query sees every key") {
    r.ops->attention(q, k, v, {{0, 2, 3}, {0, 1, 3}, false}, 1, out, log_sum_exp);
    CHECK(r.read(out) == Floats{10, 10, 30});
    CHECK(log_sum_exp.data<double>()[1] == Approx(0).margin(1e-12));
    CHECK(log_sum_exp.data<double>()[2] == Approx(std::log(2)));
  }
}

TEST_CASE("merge_attention by hand: as many keys weigh as much, no keys nothing", "[known]") {
  const double none = -std::numeric_limits<double>::infinity();
  const auto nan = std::numeric_limits<float>::quiet_NaN();
  const auto account = std::make_shared<MemoryAccount>();
  for (const auto& ops : {make_reference_operations(account), make_cpu_operations(1, account)}) {
    Bench bench(*ops, false);
    const auto merged = [&](float out, double log_sum_exp, float part, double part_log_sum_exp) {
      Tensor x = bench.input({{1, 1, 1}, {out}});
      Tensor sum = bench.input({{1, 1}, {static_cast<float>(log_sum_exp)}});
      bench.ops.merge_attention(x, sum, bench.input({{1, 1, 1}, {part}}),
                                bench.input({{1, 1}, {static_cast<float>(part_log_sum_exp)}}));
      return std::pair(static_cast<double>(bench.read(x)[0]), static_cast<double>(bench.read(sum)[0]));
    };
    const auto is = [](const std::pair<double, double>& found, double out, double log_sum_exp) {
      CHECK(found.first == Approx(out));
      CHECK((found.second == log_sum_exp || found.second == Approx(log_sum_exp)));
    };
    is(merged(10, 0, 20, 0), 15, std::log(2));
    is(merged(10, std::log(3), 20, 0), 12.5, std::log(4));
    is(merged(10, 0, 20, std::log(3)), 17.5, std::log(4));
    is(merged(10, -500, 20, -500), 15, -500 + std::log(2));
    is(merged(10, 3000, 20, -3000), 10, 3000);
    is(merged(10, -3000, 20, 3000), 20, 3000);
    is(merged(10, 7, nan, none), 10, 7);
    is(merged(nan, none, 20, 7), 20, 7);
    is(merged(10, none, nan, none), 10, none);
    CHECK(std::isnan(merged(10, 3000, nan, -3000).first));
    CHECK(std::isnan(merged(10, static_cast<double>(nan), 20, 1).first));
    CHECK(std::isnan(merged(10, static_cast<double>(nan), 20, 1).second));
    CHECK(std::isnan(merged(10, 1, 20, static_cast<double>(nan)).second));
  }
}

TEST_CASE("an id that is absent from a shard of the table is a row of zeros", "[known]") {
  KnownValues r;
  const Tensor table = r.of({{2, 2}, {1, 2, 3, 4}}), d_out = r.of({{3, 2}, {1, 10, 2, 20, 4, 40}});
  Tensor out = r.blank({3, 2}), d_table = r.blank({2, 2});
  const std::vector<int32_t> ids{1, -1, 1};
  r.ops->embedding(table, ids, out);
  CHECK(r.read(out) == Floats{3, 4, 0, 0, 3, 4});
  r.ops->embedding_backward(ids, d_out, d_table, false);
  CHECK(r.read(d_table) == Floats{0, 0, 5, 50});
}

TEST_CASE("swiglu by hand", "[known]") {
  KnownValues r;
  const Tensor gate = r.of({{1, 2}, {0, 1}}), up = r.of({{1, 2}, {5, 2}});
  Tensor out = r.blank({1, 2});
  r.ops->gated(Activation::silu, gate, up, out);
  CHECK(out.data<double>()[0] == 0);
  CHECK(out.data<double>()[1] == Approx(2 / (1 + std::exp(-1.0))));
}

TEST_CASE("cross_entropy of equal logits is the logarithm of the vocabulary", "[known]") {
  KnownValues r;
  Tensor logits = r.of({{3, 4}, {1, 1, 1, 1, 2, 2, 2, 2, 9, 9, 9, 9}});
  const std::vector<int32_t> labels{0, ignored_label, 3};
  CHECK(cross_entropy(*r.ops, logits, labels, 1) == Approx(2 * std::log(4)));
  CHECK(r.read(logits) == Floats{-0.75, 0.25, 0.25, 0.25, 0, 0, 0, 0, 0.25, 0.25, 0.25, -0.75});
}

TEST_CASE("a shard's softmax statistics by hand", "[known]") {
  const auto account = std::make_shared<MemoryAccount>();
  for (const auto& ops : {make_reference_operations(account), make_cpu_operations(1, account)}) {
    Bench bench(*ops, false);
    const float low = -std::numeric_limits<float>::infinity();
    const Tensor logits = bench.input({{5, 2}, {4, 4, 1, 1, 2, 0, low, low, low, 3}});
    // The shard has ids 10 and 11.
    const std::vector<int32_t> labels{9, ignored_label, 11, 12, 10};
    Tensor statistics = bench.ops.empty({5, 3}, DType::f64, Category::workspace);
    bench.ops.fill(statistics, std::numeric_limits<double>::quiet_NaN());
    bench.ops.softmax_statistics(logits, labels, 10, statistics);
    const double* const found = statistics.data<double>();
    CHECK(std::vector<double>(found, found + 6) == std::vector<double>{4, 2, 0, 0, 0, 0});
    CHECK(found[6] == 2);
    CHECK(found[7] == Approx(1 + std::exp(-2.0)));
    CHECK(found[8] == 0);
    const auto lowest = static_cast<double>(low);
    CHECK(std::vector<double>(found + 9, found + 15) == std::vector<double>{lowest, 0, 0, 3, 1, lowest});
  }
}

TEST_CASE("cross_entropy over two shards by hand", "[known]") {
  KnownValues r;
  // Both tokens' logits are equal over the four ids; the second token is not a target.
  Tensor statistics = r.of({{2, 2, 3}, {1, 3, 1, 0, 0, 0, 1, 1, 0, 0, 0, 0}});
  const std::vector<int32_t> labels{1, ignored_label};
  Tensor left = r.of({{2, 3}, {1, 1, 1, 5, 6, 7}}), right = r.of({{2, 1}, {1, 8}});
  CHECK(cross_entropy_from_statistics(*r.ops, left, labels, 0, statistics, 2) == Approx(std::log(4)));
  CHECK(cross_entropy_from_statistics(*r.ops, right, labels, 3, statistics, 2) == Approx(std::log(4)));
  CHECK(r.read(left) == Floats{0.5, -1.5, 0.5, 0, 0, 0});
  CHECK(r.read(right) == Floats{0.5, 0});
}

TEST_CASE("adamw's first step is the rate, in the gradient's direction", "[known]") {
  KnownValues r;
  Tensor w = r.of({{2}, {1, 1}}), m = r.of({{2}, {0, 0}}), v = r.of({{2}, {0, 0}});
  const Tensor g = r.of({{2}, {8, -2}});
  update(
      *r.ops, w, g, {m, v},
      step_of("adamw",
              {{"lr", 0.1}, {"betas", std::vector<double>{0.9, 0.95}}, {"eps", 0.0}, {"weight_decay", 0.5}},
              1, doubles(*r.ops, {0.5})));
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
