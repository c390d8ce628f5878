#include "pieces.hpp"

#include <cmath>
#include <cstdio>
#include <vector>

#include "models/loss.hpp"
#include "optim/optimizer.hpp"
#include "runtime/callback.hpp"

namespace embed {
namespace {

// Cross-entropy against targets that give a tenth of their mass to all tokens equally (Szegedy et al., arXiv
// 1512.00567).
class LabelSmoothing final : public collie::Loss {
 public:
  void chunk(collie::Operations&, collie::Tensor& logits, std::span<const int32_t> labels,
             double gradient_scale, collie::Tensor& loss_sum) override {
    if (!logits.has_memory()) return;  // `plan` counts memory, and computes nothing
    double sum = 0;
    for (size_t token = 0; token < labels.size(); ++token) {
      float* row = logits.data<float>() + static_cast<int64_t>(token) * logits.row_stride();
      sum += one_token(row, logits.dim(1), labels[token], gradient_scale);
    }
    *loss_sum.data<double>() += sum;
  }

 private:
  static constexpr double smoothing = 0.1;

  // row [vocab]: holds the logits on entry and their gradient on return.
  static double one_token(float* row, int64_t vocab, int32_t label, double gradient_scale) {
    if (label == collie::ignored_label) {
      for (int64_t i = 0; i < vocab; ++i) row[i] = 0;
      return 0;
    }
    double largest = row[0], total = 0;
    for (int64_t i = 0; i < vocab; ++i) largest = std::max<double>(largest, row[i]);
    for (int64_t i = 0; i < vocab; ++i) total += std::exp(row[i] - largest);
    const double log_total = largest + std::log(total), spread = smoothing / static_cast<double>(vocab);
    double loss = 0;
    for (int64_t i = 0; i < vocab; ++i) {
      const double target = spread + (i == label ? 1 - smoothing : 0);
      loss += target * (log_total - row[i]);
      row[i] = static_cast<float>((std::exp(row[i] - log_total) - target) * gradient_scale);
    }
    return loss;
  }
};

// Gradient descent with momentum: m = decay · m + g; w -= lr · m.
class Momentum final : public collie::Optimizer {
 public:
  explicit Momentum(double decay) : decay_(static_cast<float>(decay)) {}

  std::vector<collie::StateDeclaration> states(const collie::NamedTensor&) const override {
    return {{"momentum"}};
  }
  void update(collie::Operations&, std::span<collie::ParameterRange> ranges,
              const collie::UpdateArguments& arguments) override {
    if (!arguments.gradient_factor.has_memory()) return;  // `plan` counts memory, and computes nothing
    const double factor = *arguments.gradient_factor.data<double>();
    if (std::isnan(factor)) return;  // the loss or the gradients are not finite
    for (collie::ParameterRange& range : ranges)
      update(range, static_cast<float>(arguments.lr), static_cast<float>(factor));
  }

 private:
  void update(collie::ParameterRange& range, float lr, float factor) const {
    float* weight = range.weight.data<float>();
    float* momentum = range.states[0].data<float>();
    const float* gradient = range.gradient.data<float>();
    for (int64_t i = 0; i < range.weight.numel(); ++i) {
      momentum[i] = decay_ * momentum[i] + factor * gradient[i];
      weight[i] -= lr * momentum[i];
    }
  }

  float decay_;
};

// Ends the run as soon as the loss has fallen to a limit, which is an option of the callback.
class GoodEnough final : public collie::Callback {
 public:
  explicit GoodEnough(double limit) : limit_(limit) {}
  void on_step(const collie::StepFinished& step) override {
    if (!step.loss || *step.loss > limit_) return;  // no loss: a step without target tokens
    std::printf("callback: loss %.3f at step %ld is good enough\n", static_cast<double>(*step.loss),
                static_cast<long>(step.step));
    run().stop("good_enough");
  }

 private:
  double limit_;
};

}  // namespace

void register_pieces() {
  collie::losses().add("label_smoothing", [] { return std::make_unique<LabelSmoothing>(); });
  collie::OptimizerDeclaration momentum;
  momentum.options = {
      collie::learning_rate_option(0.1),
      {"decay", 0.9, "of the running sum of gradients", collie::NumberRange::from_to_below(0, 1)}};
  collie::add_optimizer("momentum", std::move(momentum), [](const collie::OptionValues& options) {
    return std::make_unique<Momentum>(options.number("decay"));
  });
  collie::CallbackDeclaration good_enough;
  good_enough.options = {{"limit", 3.6, "a loss that is good enough"}};
  collie::add_callback(
      "good_enough",
      [](const collie::OptionValues& options) {
        return std::make_unique<GoodEnough>(options.number("limit"));
      },
      std::move(good_enough));
}

}  // namespace embed
