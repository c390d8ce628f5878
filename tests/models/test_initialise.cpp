#include "models/stage_model.hpp"
#include "tests/catch.hpp"
#include "tests/models/support.hpp"

using namespace collie;
using namespace collie::test;

namespace {

std::vector<float> initialised(const Parameter& parameter, uint64_t seed) {
  const auto owner = make_operations("reference");
  Tensor weight = owner.operations->empty(parameter.shape, Category::weights);
  initialise(parameter, seed, *owner.operations, weight);
  return values(*owner.operations, weight);
}

}  // namespace

TEST_CASE("initial weights are normal with the parameter's deviation", "[initialise]") {
  const std::vector<float> x = initialised({"a", {300, 1000}, Initialisation::normal, 0.05}, 42);
  double sum = 0, squares = 0, fourth = 0, neighbours = 0;
  for (size_t i = 0; i < x.size(); ++i) {
    const double value = static_cast<double>(x[i]) / 0.05;
    sum += value;
    squares += value * value;
    fourth += value * value * value * value;
    if (i > 0) neighbours += value * static_cast<double>(x[i - 1]) / 0.05;
  }
  const auto n =
      static_cast<double>(x.size());  // deviations of these means: 1, sqrt 2, sqrt 96, 1 over sqrt n
  CHECK(std::abs(sum / n) < 5 / std::sqrt(n));
  CHECK(std::abs(squares / n - 1) < 5 * std::sqrt(2 / n));
  CHECK(std::abs(fourth / n - 3) < 5 * std::sqrt(96 / n));
  CHECK(std::abs(neighbours / n) < 5 / std::sqrt(n));
}

TEST_CASE("an initial weight depends on seed, name and index alone", "[initialise]") {
  const Parameter parameter{"a", {7, 11}, Initialisation::normal, 1.0};
  const std::vector<float> x = initialised(parameter, 42);
  CHECK(initialised(parameter, 42) == x);
  CHECK(initialised(parameter, 43) != x);
  CHECK(initialised({"b", {7, 11}, Initialisation::normal, 1.0}, 42) != x);
  const std::vector<float> reshaped = initialised({"a", {11, 7}, Initialisation::normal, 1.0}, 42);
  CHECK(reshaped == x);
  // Known values, from a Philox and Box-Muller written apart in Python: a change here changes every run that
  // starts from scratch.
  const std::vector<double> known = {-0.1075511246588097, 0.007278876431623412, 0.8348795453995402,
                                     0.6757106191276012,  -0.6520391366349759,  1.142044876669392,
                                     -0.7030725630332813, 0.6144212817664737};
  const std::vector<float> first(x.begin(), x.begin() + 8);
  CAPTURE(first);
  CHECK(relative_error(first, known) < 1e-7);
}

TEST_CASE("a range of a parameter gets the values of the whole", "[initialise]") {
  const Parameter parameter{"a", {300, 1000}, Initialisation::normal, 1.0};
  const std::vector<float> x = initialised(parameter, 42);
  const auto owner = make_operations("reference");
  for (const auto& [begin, size] :
       std::vector<std::pair<int64_t, int64_t>>{{0, 3}, {1, 6}, {4096, 70000}, {299998, 2}}) {
    CAPTURE(begin, size);
    Tensor part = owner.operations->empty({size}, Category::weights);
    initialise_range(parameter, 42, begin, *owner.operations, part);
    CHECK(values(*owner.operations, part) == std::vector<float>(x.begin() + begin, x.begin() + begin + size));
  }
}

TEST_CASE("norms start at one and biases at zero", "[initialise]") {
  CHECK(initialised({"a", {5}, Initialisation::ones}, 42) == std::vector<float>(5, 1.0f));
  CHECK(initialised({"a", {5}, Initialisation::zeros}, 42) == std::vector<float>(5, 0.0f));
  for (const Parameter& parameter : model_parameters(tiny_config())) {
    CAPTURE(parameter.name);
    const bool norm = parameter.name.find("norm") != std::string::npos,
               bias = parameter.name.ends_with(".bias");
    CHECK(parameter.initialisation == (norm   ? Initialisation::ones
                                       : bias ? Initialisation::zeros
                                              : Initialisation::normal));
    if (!norm && !bias) CHECK(parameter.deviation == 0.02);
  }
}
