// The linear seam: what every implementation must do.
#include "models/linear.hpp"

#include "tests/catch.hpp"
#include "tests/models/support.hpp"

using namespace collie;
using namespace collie::test;

namespace {

constexpr int64_t in = 5, out = 7, tokens = 6;

// One matrix in one of its forms, with the same values whatever the form.
struct Subject {
  std::unique_ptr<Linear> linear;
  std::vector<Tensor> weights, gradients;  // weight, bias
  bool transposed = false;

  Subject(Operations& operations, bool is_transposed, bool bias) : transposed(is_transposed) {
    Tensor weight = random_tensor(operations, {out, in}, "weight", 0.5);
    if (transposed) {
      const std::vector<float> dense = values(operations, weight);
      std::vector<float> turned(dense.size());
      for (int64_t o = 0; o < out; ++o)
        for (int64_t i = 0; i < in; ++i)
          turned[static_cast<size_t>(i * out + o)] = dense[static_cast<size_t>(o * in + i)];
      weight = operations.empty({in, out}, Category::weights);
      operations.upload(turned, weight);
    }
    weights = {weight, random_tensor(operations, {out}, "bias", 0.5)};
    gradients = {operations.empty(weight.shape(), Category::gradients),
                 operations.empty({out}, Category::gradients)};
    linear = transposed ? make_transposed_linear(0, bias ? 1 : -1) : make_dense_linear(0, bias ? 1 : -1);
  }

  // The weight's gradient as [out, in].
  std::vector<float> weight_gradient(Operations& operations) const {
    const std::vector<float> stored = values(operations, gradients[0]);
    if (!transposed) return stored;
    std::vector<float> turned(stored.size());
    for (int64_t o = 0; o < out; ++o)
      for (int64_t i = 0; i < in; ++i)
        turned[static_cast<size_t>(o * in + i)] = stored[static_cast<size_t>(i * out + o)];
    return turned;
  }
};

}  // namespace

TEST_CASE("every linear computes y = x Wᵀ + b and its gradients", "[linear]") {
  const std::string device = GENERATE(from_range(all_devices));
  const bool transposed = GENERATE(false, true), bias = GENERATE(false, true);
  CAPTURE(device, transposed, bias);
  const auto owner = make_operations(device);
  Operations& operations = *owner.operations;
  Subject subject(operations, transposed, bias);
  ResidentSource source(subject.weights);
  AccumulatingSink sink(subject.gradients);
  LayerContext context{operations, source, &sink};
  const std::vector<float> w = values(operations, random_tensor(operations, {out, in}, "weight", 0.5));
  const std::vector<float> b = values(operations, subject.weights[1]);

  // x and y are columns of wider buffers, as in a packed qkv.
  Tensor wide_x = random_tensor(operations, {tokens, in + 3}, "x"),
         wide_y = random_tensor(operations, {tokens, out + 4}, "y");
  const Tensor x = wide_x.columns(2, 2 + in);
  Tensor y = wide_y.columns(1, 1 + out);
  const std::vector<float> x_values = values(operations, x);
  const std::vector<float> left = values(operations, wide_y.columns(0, 1));
  const std::vector<float> right = values(operations, wide_y.columns(1 + out, out + 4));
  subject.linear->forward(context, x, y);
  std::vector<double> expected;
  for (size_t t = 0; t < tokens; ++t)
    for (size_t o = 0; o < out; ++o) {
      double sum = bias ? b[o] : 0.0;
      for (size_t i = 0; i < in; ++i) sum += static_cast<double>(x_values[t * in + i]) * w[o * in + i];
      expected.push_back(sum);
    }
  CHECK(relative_error(values(operations, y), expected) < 1e-6);
  CHECK(values(operations, wide_y.columns(0, 1)) == left);
  CHECK(values(operations, wide_y.columns(1 + out, out + 4)) == right);

  const Tensor wide_dy = random_tensor(operations, {tokens, out + 4}, "dy");
  const Tensor dy = wide_dy.columns(3, 3 + out);
  const std::vector<float> dy_values = values(operations, dy);
  Tensor dx = operations.empty({tokens, in}, Category::workspace);
  subject.linear->backward_input(context, dy, dx, false);
  std::vector<double> expected_dx;
  for (size_t t = 0; t < tokens; ++t)
    for (size_t i = 0; i < in; ++i) {
      double sum = 0;
      for (size_t o = 0; o < out; ++o) sum += static_cast<double>(dy_values[t * out + o]) * w[o * in + i];
      expected_dx.push_back(sum);
    }
  CHECK(relative_error(values(operations, dx), expected_dx) < 1e-6);
  subject.linear->backward_input(context, dy, dx, true);
  for (double& element : expected_dx) element *= 2;
  CHECK(relative_error(values(operations, dx), expected_dx) < 1e-6);

  std::vector<double> expected_dw(out * in, 0.0), expected_db(out, 0.0);
  for (size_t t = 0; t < tokens; ++t)
    for (size_t o = 0; o < out; ++o) {
      expected_db[o] += dy_values[t * out + o];
      for (size_t i = 0; i < in; ++i)
        expected_dw[o * in + i] += static_cast<double>(dy_values[t * out + o]) * x_values[t * in + i];
    }
  for (const double times : {1.0, 2.0}) {  // overwrites what was there, then accumulates
    subject.linear->backward_weight(context, x, dy);
    std::vector<double> dw = expected_dw, db = expected_db;
    for (double& element : dw) element *= times;
    for (double& element : db) element *= times;
    CAPTURE(times);
    CHECK(relative_error(subject.weight_gradient(operations), dw) < 1e-6);
    if (bias) CHECK(relative_error(values(operations, subject.gradients[1]), db) < 1e-6);
  }
  CHECK(sink.contributions(0) == 2);
  CHECK(sink.contributions(1) == (bias ? 2 : 0));
}

TEST_CASE("every linear zero-fills a fresh gradient when there are no tokens", "[linear]") {
  const std::string device = GENERATE(from_range(all_devices));
  const bool transposed = GENERATE(false, true);
  CAPTURE(device, transposed);
  const auto owner = make_operations(device);
  Operations& operations = *owner.operations;
  Subject subject(operations, transposed, true);
  for (Tensor& gradient : subject.gradients) operations.fill(gradient, NAN);
  ResidentSource source(subject.weights);
  AccumulatingSink sink(subject.gradients);
  LayerContext context{operations, source, &sink};
  const Tensor x = operations.empty({0, in}, Category::workspace);
  Tensor y = operations.empty({0, out}, Category::workspace),
         dx = operations.empty({0, in}, Category::workspace);
  subject.linear->forward(context, x, y);
  subject.linear->backward_input(context, y, dx, false);
  subject.linear->backward_weight(context, x, y);
  CHECK(values(operations, subject.gradients[0]) == std::vector<float>(in * out, 0.0f));
  CHECK(values(operations, subject.gradients[1]) == std::vector<float>(out, 0.0f));
}

TEST_CASE("a linear without a sink, or whose gradient nobody wants, computes none", "[linear]") {
  struct Frozen final : GradientSink {
    int opened = 0, closed = 0;
    GradientTarget open(ParameterId) override { return ++opened, GradientTarget{}; }
    void close(ParameterId) override { ++closed; }
  };
  const bool transposed = GENERATE(false, true);
  const auto owner = make_operations("reference");
  Operations& operations = *owner.operations;
  Subject subject(operations, transposed, true);
  ResidentSource source(subject.weights);
  const Tensor x = random_tensor(operations, {tokens, in}, "x"),
               dy = random_tensor(operations, {tokens, out}, "dy");
  LayerContext without{operations, source, nullptr};
  subject.linear->backward_weight(without, x, dy);
  Frozen sink;
  LayerContext frozen{operations, source, &sink};
  subject.linear->backward_weight(frozen, x, dy);
  CHECK(sink.opened == 2);
  CHECK(sink.closed == 2);
}
