// Labels that the model samples, and what the gradients of their losses tell of the curvature.
#include "models/sampled_labels.hpp"

#include "models/loss.hpp"
#include "tests/models/messages.hpp"
#include "tests/models/support.hpp"

using namespace collie;
using namespace collie::test;

namespace {

// Softmax of x · Wᵀ with random x [tokens, inputs] and W [vocab, inputs]; every second token is a target.
class LinearSoftmax {
 public:
  static constexpr int64_t tokens = 8, inputs = 4, vocab = 5;

  explicit LinearSoftmax(Operations& operations)
      : operations_(operations), x_(random({tokens, inputs}, 1)), weight_(random({vocab, inputs}, 2)) {
    for (int64_t i = 0; i < tokens; ++i) {
      labels_.push_back(i % 2 == 0 ? ignored_label : 0);
      numbers_.push_back(static_cast<uint64_t>(100 + i));
    }
  }

  // targets · (gradient of the mean loss over labels of that draw)².
  std::vector<double> estimate(const LabelDraw& draw) {
    Tensor scores = logits(), sum = operations_.empty({1}, DType::f64, Category::workspace);
    operations_.fill(sum, 0);
    const std::vector<int32_t> labels = sampled(draw);
    operations_.cross_entropy(scores, labels, 1.0 / targets, sum);
    Tensor gradient = operations_.empty({vocab, inputs}, Category::workspace);
    operations_.gemm(GemmForm::tn, scores, x_, gradient, false);
    std::vector<double> squares = doubles_of(gradient);
    for (double& each : squares) each *= each * targets;
    return squares;
  }

  std::vector<int32_t> sampled(const LabelDraw& draw) {
    ResidentSource source(weights_);
    LayerContext context{operations_, source};
    return sample_labels(context, draw, logits(), labels_, numbers_);
  }

  // The diagonal of the Gauss-Newton matrix: the mean over targets of x_i² p_c (1 - p_c), for weight [c, i].
  std::vector<double> exact() {
    const std::vector<double> x = doubles_of(x_), scores = doubles_of(logits());
    std::vector<double> diagonal(vocab * inputs);
    for (size_t t = 1; t < tokens; t += 2) {
      double sum = 0;
      for (size_t c = 0; c < vocab; ++c) sum += std::exp(scores[t * vocab + c]);
      for (size_t c = 0; c < vocab; ++c) {
        const double p = std::exp(scores[t * vocab + c]) / sum;
        for (size_t i = 0; i < inputs; ++i)
          diagonal[c * inputs + i] += x[t * inputs + i] * x[t * inputs + i] * p * (1 - p) / targets;
      }
    }
    return diagonal;
  }

 private:
  static constexpr double targets = tokens / 2;

  Tensor random(const Shape& shape, uint64_t seed) {
    const RandomStream stream(random_key(seed, "linear softmax"));
    std::vector<float> numbers;
    for (int64_t i = 0; i < shape.numel(); ++i)
      numbers.push_back(static_cast<float>(stream.normal(static_cast<uint64_t>(i))));
    Tensor x = operations_.empty(shape, Category::workspace);
    operations_.upload(numbers, x);
    return x;
  }
  std::vector<double> doubles_of(const Tensor& x) {
    const std::vector<float> numbers = values(operations_, x);
    return {numbers.begin(), numbers.end()};
  }
  Tensor logits() {
    Tensor scores = operations_.empty({tokens, vocab}, Category::workspace);
    operations_.gemm(GemmForm::nt, x_, weight_, scores, false);
    return scores;
  }

  Operations& operations_;
  Tensor x_, weight_;
  std::vector<Tensor> weights_;
  std::vector<int32_t> labels_;
  std::vector<uint64_t> numbers_;
};

}  // namespace

TEST_CASE("the gradients of sampled labels estimate the Gauss-Newton diagonal, better with more samples") {
  const auto owner = make_operations(GENERATE(from_range(all_devices)));
  LinearSoftmax model(*owner.operations);
  const std::vector<double> exact = model.exact();
  std::vector<double> sum(exact.size());
  std::vector<double> errors;  // after 30, 300, 3000 samples
  int64_t step = 0;
  for (const int64_t samples : {30, 300, 3000}) {
    while (step < samples) {
      const std::vector<double> estimate = model.estimate({11, ++step});
      for (size_t i = 0; i < sum.size(); ++i) sum[i] += estimate[i];
    }
    std::vector<double> mean = sum;
    for (double& each : mean) each /= static_cast<double>(samples);
    errors.push_back(relative_error(mean, exact));
  }
  CAPTURE(owner.name, errors);
  // The deviation of one sample is about the diagonal itself.
  const auto bound = [](double samples) { return 2.5 / std::sqrt(samples); };
  CHECK(errors[0] < bound(30));
  CHECK(errors[1] < bound(300));
  CHECK(errors[2] < bound(3000));
  CHECK(errors[2] < errors[0] / 3);
}

TEST_CASE("sampled labels depend on seed, step and the token's number, and are of targets alone") {
  const auto owner = make_operations("cpu");
  LinearSoftmax model(*owner.operations);
  size_t different_step = 0, different_seed = 0;
  for (int64_t step = 1; step <= 50; ++step) {
    const std::vector<int32_t> labels = model.sampled({1, step});
    REQUIRE(labels.size() == static_cast<size_t>(LinearSoftmax::tokens));
    for (size_t i = 0; i < labels.size(); ++i) CHECK((labels[i] == ignored_label) == (i % 2 == 0));
    CHECK(model.sampled({1, step}) == labels);
    different_step += model.sampled({1, step + 1}) != labels;
    different_seed += model.sampled({2, step}) != labels;
  }
  CHECK(different_step > 40);
  CHECK(different_seed > 40);
}

TEST_CASE("a loss that is not cross-entropy does not go with sampled labels") {
  class Other final : public Loss {
   public:
    void chunk(Operations&, Tensor&, std::span<const int32_t>, double, Tensor&) override {}
  };
  check_loss_curvature("cross_entropy", *losses().find("cross_entropy")(), "sophia");
  check_says(message_of([] { check_loss_curvature("mine", Other(), "sophia"); }),
             {"train.loss", "'mine'", "sophia", "cross_entropy"});
}
