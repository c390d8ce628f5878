#include "optim/gradient_norm.hpp"

#include <cmath>

#include "optim/optimizer.hpp"
#include "tests/catch.hpp"
#include "tests/models/support.hpp"

using namespace collie;
using namespace collie::test;

TEST_CASE("clipping scales like PyTorch's clip_grad_norm_", "[clip]") {
  CHECK(clip_scale(2.0, 1.0) == 1.0 / (2.0 + 1e-6));
  CHECK(clip_scale(0.5, 1.0) == 1.0);
  CHECK(clip_scale(1.0, 1.0) == 1.0 / (1.0 + 1e-6));
  CHECK(clip_scale(0.0, 1.0) == 1.0);
  CHECK(clip_scale(1e9, 0.0) == 1.0);  // off
  CHECK(clip_scale(INFINITY, 1.0) == 0.0);
  CHECK(std::isnan(clip_scale(NAN, 1.0)));
}

TEST_CASE("the global norm adds parameters in canonical order", "[norm]") {
  const double huge = 0x1.0p53;
  CHECK(global_norm(std::vector<double>{}) == 0.0);
  CHECK(global_norm(std::vector<double>{9.0, 16.0}) == 5.0);
  // In this order each 1 is lost beside 2^53; in the other they count.
  const std::vector<Parameter> canonical = {{"b", {1}}, {"c", {1}}, {"a", {1}}};
  CHECK(global_norm(canonical, {{"a", 1.0}, {"b", huge}, {"c", 1.0}}) == std::sqrt(huge));
  CHECK(global_norm(canonical, {{"a", huge}, {"b", 1.0}, {"c", 1.0}}) == std::sqrt(huge + 2));
}

TEST_CASE("a sum of squares that is missing or too many is a programmer's error", "[norm]") {
  Parameter copy{"a", {1}};
  copy.tied_copy = true;
  const std::vector<Parameter> canonical = {{"a", {1}}, {"b", {1}}, copy};
  CHECK(global_norm(canonical, {{"a", 9.0}, {"b", 16.0}}) == 5.0);
  CHECK_THROWS_AS(global_norm(canonical, {{"a", 9.0}}), std::logic_error);
  CHECK_THROWS_AS(global_norm(canonical, {{"a", 9.0}, {"b", 16.0}, {"c", 1.0}}), std::logic_error);
}

TEST_CASE("a gradient's sum of squares does not depend on its shape", "[norm]") {
  const std::string device = GENERATE(from_range(all_devices));
  CAPTURE(device);
  const auto owner = make_operations(device);
  const Tensor x = random_tensor(*owner.operations, {90, 100}, "x");
  const double sum = gradient_sum_of_squares(*owner.operations, x);
  CHECK(gradient_sum_of_squares(*owner.operations, x.reshape({9000})) == sum);
  double expected = 0;
  for (const float value : values(*owner.operations, x)) expected += static_cast<double>(value) * value;
  CHECK(sum == Approx(expected).epsilon(1e-12));
}
