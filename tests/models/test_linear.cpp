// The linear seam: what every implementation must do.
#include "models/linear.hpp"

#include "tests/catch.hpp"
#include "tests/models/support.hpp"

using namespace collie;
using namespace collie::test;

namespace {

constexpr int64_t in = 5, out = 7, tokens = 6;

constexpr int64_t first_part = 3;  // columns of a split linear's first part

// One matrix, or the same matrix split into two.
struct Subject {
  std::unique_ptr<Linear> linear;
  std::vector<Tensor> weights, gradients;  // weight, bias of each part

  Subject(Operations& operations, bool split, bool bias) {
    const Tensor weight = random_tensor(operations, {out, in}, "weight", 0.5),
                 shift = random_tensor(operations, {out}, "bias", 0.5);
    std::vector<std::pair<int64_t, int64_t>> ranges = {{0, out}};
    if (split) ranges = {{0, first_part}, {first_part, out}};
    std::vector<std::unique_ptr<Linear>> parts;
    std::vector<int64_t> widths;
    for (const auto& [begin, end] : ranges) {
      const auto id = static_cast<ParameterId>(weights.size());
      parts.push_back(make_dense_linear({id, bias ? id + 1 : no_parameter}));
      widths.push_back(end - begin);
      weights.push_back(weight.rows(begin, end));
      weights.push_back(shift.rows(begin, end));
      gradients.push_back(operations.empty({end - begin, in}, Category::gradients));
      gradients.push_back(operations.empty({end - begin}, Category::gradients));
    }
    linear = split ? make_split_linear(std::move(parts), widths) : std::move(parts[0]);
  }

  // Of the whole matrix (0) or bias (1).
  std::vector<float> gradient(Operations& operations, size_t which) const {
    std::vector<float> whole;
    for (size_t i = which; i < gradients.size(); i += 2) {
      const std::vector<float> part = values(operations, gradients[i]);
      whole.insert(whole.end(), part.begin(), part.end());
    }
    return whole;
  }
};

}  // namespace

TEST_CASE("every linear computes y = x Wᵀ + b and its gradients", "[linear]") {
  const std::string device = GENERATE(from_range(all_devices));
  const bool split = GENERATE(false, true), bias = GENERATE(false, true);
  CAPTURE(device, split, bias);
  const auto owner = make_operations(device);
  Operations& operations = *owner.operations;
  Subject subject(operations, split, bias);
  ResidentSource source(subject.weights);
  AccumulatingSink sink(subject.gradients);
  LayerContext context{operations, source, &sink};
  const std::vector<float> w = values(operations, random_tensor(operations, {out, in}, "weight", 0.5));
  const std::vector<float> b = values(operations, random_tensor(operations, {out}, "bias", 0.5));

  // x and y are columns of wider buffers, as in a packed qkv.
  Tensor wide_x = random_tensor(operations, {tokens, in + 3}, "x"),
         wide_y = random_tensor(operations, {tokens, out + 4}, "y");
  const Tensor x = wide_x.columns(2, 2 + in);
  Tensor y = wide_y.columns(1, 1 + out);
  const std::vector<float> x_values = values(operations, x);
  const std::vector<float> left = values(operations, wide_y.columns(0, 1));
  const std::vector<float> right = values(operations, wide_y.columns(1 + out, out + 4));
  LinearStash stash;
  subject.linear->forward(context, x, y, &stash);
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
  subject.linear->backward_input(context, dy, dx, false, stash);
  std::vector<double> expected_dx;
  for (size_t t = 0; t < tokens; ++t)
    for (size_t i = 0; i < in; ++i) {
      double sum = 0;
      for (size_t o = 0; o < out; ++o) sum += static_cast<double>(dy_values[t * out + o]) * w[o * in + i];
      expected_dx.push_back(sum);
    }
  CHECK(relative_error(values(operations, dx), expected_dx) < 1e-6);
  subject.linear->backward_input(context, dy, dx, true, stash);
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
    subject.linear->backward_weight(context, x, dy, stash);
    std::vector<double> dw = expected_dw, db = expected_db;
    for (double& element : dw) element *= times;
    for (double& element : db) element *= times;
    CAPTURE(times);
    CHECK(relative_error(subject.gradient(operations, 0), dw) < 1e-6);
    if (bias) CHECK(relative_error(subject.gradient(operations, 1), db) < 1e-6);
  }
  CHECK(sink.contributions(0) == 2);
  CHECK(sink.contributions(1) == (bias ? 2 : 0));
}

TEST_CASE("every linear zero-fills a fresh gradient when there are no tokens", "[linear]") {
  const std::string device = GENERATE(from_range(all_devices));
  const bool split = GENERATE(false, true);
  CAPTURE(device, split);
  const auto owner = make_operations(device);
  Operations& operations = *owner.operations;
  Subject subject(operations, split, true);
  for (Tensor& gradient : subject.gradients) operations.fill(gradient, NAN);
  ResidentSource source(subject.weights);
  AccumulatingSink sink(subject.gradients);
  LayerContext context{operations, source, &sink};
  const Tensor x = operations.empty({0, in}, Category::workspace);
  Tensor y = operations.empty({0, out}, Category::workspace),
         dx = operations.empty({0, in}, Category::workspace);
  LinearStash stash;
  subject.linear->forward(context, x, y, &stash);
  subject.linear->backward_input(context, y, dx, false, stash);
  subject.linear->backward_weight(context, x, y, stash);
  CHECK(subject.gradient(operations, 0) == std::vector<float>(in * out, 0.0f));
  CHECK(subject.gradient(operations, 1) == std::vector<float>(out, 0.0f));
}

TEST_CASE("a linear without a sink, or whose gradient nobody wants, computes none", "[linear]") {
  struct Frozen final : GradientSink {
    int opened = 0, closed = 0;
    GradientTarget open(ParameterId) override { return ++opened, GradientTarget{}; }
    void close(ParameterId) override { ++closed; }
  };
  const bool split = GENERATE(false, true);
  const auto owner = make_operations("reference");
  Operations& operations = *owner.operations;
  Subject subject(operations, split, true);
  ResidentSource source(subject.weights);
  const Tensor x = random_tensor(operations, {tokens, in}, "x"),
               dy = random_tensor(operations, {tokens, out}, "dy");
  LayerContext without{operations, source, nullptr};
  Tensor y = operations.empty({tokens, out}, Category::workspace);
  LinearStash stash;
  subject.linear->forward(without, x, y, &stash);
  subject.linear->backward_weight(without, x, dy, stash);
  Frozen sink;
  LayerContext frozen{operations, source, &sink};
  subject.linear->backward_weight(frozen, x, dy, stash);
  CHECK(sink.opened == (split ? 4 : 2));
  CHECK(sink.closed == sink.opened);
}
