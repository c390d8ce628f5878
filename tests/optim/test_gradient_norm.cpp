#include "optim/gradient_norm.hpp"

#include <cmath>

#include "kernels/clip_factor.hpp"
#include "tests/catch.hpp"
#include "tests/io/matchers.hpp"
#include "tests/models/support.hpp"

using namespace collie;
using namespace collie::test;

namespace {

Tensor doubles_of(Operations& operations, const std::vector<double>& values) {
  Tensor x = operations.empty({static_cast<int64_t>(values.size())}, DType::f64, Category::workspace);
  std::copy(values.begin(), values.end(), x.data<double>());
  return x;
}

// What one rank makes of everybody's contributions.
std::vector<double> agreed(Operations& operations, const NormOrder& order,
                           std::vector<std::vector<double>> all, double max_norm = 0) {
  std::vector<double> gathered;
  for (std::vector<double>& own : all) {
    own.resize(static_cast<size_t>(order.width));
    gathered.insert(gathered.end(), own.begin(), own.end());
  }
  // As if one rank had contributed all that was gathered.
  return operations
      .read(agree_on_step(operations, order, doubles_of(operations, gathered), nullptr, max_norm))
      .value();
}

}  // namespace

TEST_CASE("clipping scales like PyTorch's clip_grad_norm_", "[clip]") {
  CHECK(clip_factor(2.0, 1.0) == 1.0 / (2.0 + 1e-6));
  CHECK(clip_factor(0.5, 1.0) == 1.0);
  CHECK(clip_factor(1.0, 1.0) == 1.0 / (1.0 + 1e-6));
  CHECK(clip_factor(0.0, 1.0) == 1.0);
  CHECK(clip_factor(1e9, 0.0) == 1.0);  // off
  CHECK(clip_factor(INFINITY, 1.0) == 0.0);
  CHECK(std::isnan(clip_factor(NAN, 1.0)));
}

TEST_CASE(
    "ranks' losses are added rank by rank, sums of squares by parameter, piece and block, whoever has them",
    "[norm]") {
  const std::string device = GENERATE(from_range(all_devices));
  CAPTURE(device);
  const auto owner = make_operations(device);
  Operations& ops = *owner.operations;
  const double huge = 0x1.0p53;  // beside it a 1 is lost
  SECTION("one rank") {
    const NormOrder order = norm_order({{{0, 0, 0, 1}, {1, 0, 0, 1}}}, 2);
    CHECK(order.width == 3);
    CHECK(agreed(ops, order, {{7, 9, 16}}) == std::vector<double>{7, 5, 1});
    CHECK(agreed(ops, order, {{7, 9, 16}}, 1)[2] == clip_factor(5, 1));
  }
  SECTION("parameters in canonical order") {
    // Rank 0 has parameters 2 and 0, rank 1 has 1.
    const NormOrder order = norm_order({{{2, 0, 0, 1}, {0, 0, 0, 1}}, {{1, 0, 0, 1}}}, 3);
    CHECK(agreed(ops, order, {{0, 1, huge}, {0, 1}})[1] == std::sqrt(huge));      // huge + 1 + 1
    CHECK(agreed(ops, order, {{0, huge, 1}, {0, 1}})[1] == std::sqrt(huge + 2));  // 1 + 1 + huge
  }
  SECTION("pieces by themselves") {
    const NormOrder order = norm_order({{{0, 1, 0, 2}}, {{0, 0, 0, 1}}}, 1);
    CHECK(agreed(ops, order, {{0, 1, 1}, {0, huge}})[1] == std::sqrt(huge + 2));  // huge + (1 + 1)
  }
  SECTION("blocks one after another, on whatever rank") {
    const NormOrder order = norm_order({{{0, 0, 1, 2}}, {{0, 0, 0, 1}}}, 1);
    CHECK(agreed(ops, order, {{0, 1, 1}, {0, huge}})[1] == std::sqrt(huge));  // (huge + 1) + 1
  }
  SECTION("losses") {
    const NormOrder order = norm_order({{{0, 0, 0, 1}}, {}, {}}, 1);
    CHECK(agreed(ops, order, {{huge, 4}, {1}, {1}})[0] == huge);
    CHECK(agreed(ops, order, {{1, 4}, {1}, {huge}})[0] == huge + 2);
  }
}

TEST_CASE("a norm that is contributed twice, or not at all, is a programmer's error", "[norm]") {
  CHECK_THROWS_AS(norm_order({{{0, 0, 0, 1}}, {{0, 0, 0, 1}}}, 1), std::logic_error);
  CHECK_THROWS_AS(norm_order({{{0, 0, 0, 1}}}, 2), std::logic_error);
  CHECK_THROWS_AS(norm_order({{{0, 0, 0, 1}, {1, 0, 0, 1}}}, 1), std::logic_error);
}
