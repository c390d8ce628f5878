// How important elements are to the loss, on every table, by its definition.
#include "kernels/importance.hpp"

#include <limits>

#include "tests/catch.hpp"
#include "tests/kernels/support.hpp"

namespace collie::test {
namespace {

// Of one table: a weight, its gradient and the two states, in accumulation_dtype().
struct ImportantElements {
  explicit ImportantElements(Operations& table, int64_t count) : operations(table) {
    uint64_t seed = 0;
    for (Tensor* const x : {&weight, &gradient, &importance, &uncertainty}) {
      *x = operations.empty({count}, operations.accumulation_dtype(), Category::workspace);
      Values values = random_values({count}, ++seed);
      if (seed > 2)  // states are not negative
        for (float& value : values.data) value = std::abs(value);
      operations.upload(values.data, *x);
    }
  }

  std::vector<float> read(const Tensor& x) const {
    std::vector<float> values(static_cast<size_t>(x.numel()));
    operations.download(x, values);
    return values;
  }
  void update(const ImportanceDecay& decay, double factor) {
    UpdateTensors range{weight, gradient, {importance, uncertainty}, {}, 0};
    operations.update({&range, 1}, importance_update(decay, doubles(operations, {factor})));
  }

  Operations& operations;
  Tensor weight, gradient, importance, uncertainty;
};

}  // namespace

TEST_CASE("importance is a running mean of |weight x gradient|, and uncertainty of what that is off by",
          "[conformance]") {
  const ImportanceDecay decay{0.85, 0.7};
  on_every_table([&](Operations& operations) {
    ImportantElements elements(operations, 5000);
    const std::vector<float> weight = elements.read(elements.weight),
                             gradient = elements.read(elements.gradient);
    std::vector<float> importance = elements.read(elements.importance),
                       uncertainty = elements.read(elements.uncertainty), root;
    elements.update(decay, 0.5);
    for (size_t i = 0; i < weight.size(); ++i) {
      const double sensitivity = std::abs(0.5 * weight[i] * gradient[i]);
      const double mean = 0.85 * importance[i] + 0.15 * sensitivity;
      importance[i] = static_cast<float>(mean);
      uncertainty[i] = static_cast<float>(0.7 * uncertainty[i] + 0.3 * std::abs(sensitivity - mean));
      root.push_back(std::sqrt(importance[i] * uncertainty[i]));
    }
    CHECK(elements.read(elements.weight) == weight);
    CHECK(relative_error(elements.read(elements.importance), importance) < 1e-6);
    CHECK(relative_error(elements.read(elements.uncertainty), uncertainty) < 1e-6);

    UpdateTensors roots{elements.weight, elements.importance, {elements.uncertainty}, {}, 0};
    operations.update({&roots, 1}, importance_roots());
    CHECK(relative_error(elements.read(elements.weight), root) < 1e-6);
  });
}

TEST_CASE("importance stays as it is where the factor is not a number", "[conformance]") {
  on_every_table([&](Operations& operations) {
    ImportantElements elements(operations, 300);
    const std::vector<float> before = elements.read(elements.importance);
    elements.update({}, std::numeric_limits<double>::quiet_NaN());
    CHECK(elements.read(elements.importance) == before);
  });
}

TEST_CASE("a mask leaves what it keeps as it is, and zeros elsewhere", "[conformance]") {
  on_every_table([&](Operations& operations) {
    ImportantElements elements(operations, 300);
    std::vector<float> mask(300), expected = elements.read(elements.weight);
    for (size_t i = 0; i < mask.size(); ++i) {
      mask[i] = i % 3 == 0 ? 0.0F : 1.0F;
      if (i % 3 == 0) expected[i] = 0;
    }
    operations.upload(mask, elements.gradient);
    UpdateTensors range{elements.weight, elements.gradient, {}, {}, 0};
    operations.update({&range, 1}, mask_update());
    CHECK(elements.read(elements.weight) == expected);
  });
}

}  // namespace collie::test
