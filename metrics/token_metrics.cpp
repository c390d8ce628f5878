// Metrics of perplexity sets. Their sums: the tokens, and the terms of the losses or the right tokens.
#include <cmath>

#include "metrics/built_in.hpp"
#include "metrics/exact_sum.hpp"
#include "metrics/share.hpp"

namespace collie {
namespace {

class MeanLoss : public Metric {
 public:
  explicit MeanLoss(bool as_perplexity) : as_perplexity_(as_perplexity) {}

  MetricSums of_tokens(const TokenSums& sample) const override {
    const auto loss = exact_terms_of(sample.loss);
    MetricSums sums{static_cast<double>(sample.tokens)};
    sums.insert(sums.end(), loss.begin(), loss.end());
    return sums;
  }

  std::vector<NamedNumber> result(const MetricSums& sums) const override {
    const std::span<const double> all(sums);
    const double loss = all.empty() ? 0 : value_of_terms(all.subspan(1));
    const double mean = share_of(loss, sum_at(sums, 0));
    if (as_perplexity_) return {{"perplexity", std::exp(mean)}};
    return {{"loss", mean}};
  }

 private:
  bool as_perplexity_;
};

class TokenAccuracy : public Metric {
 public:
  MetricSums of_tokens(const TokenSums& sample) const override {
    return {static_cast<double>(sample.tokens), static_cast<double>(sample.right_tokens)};
  }

  std::vector<NamedNumber> result(const MetricSums& sums) const override {
    return {{"token_accuracy", share_of(sum_at(sums, 1), sum_at(sums, 0))}};
  }
};

}  // namespace

std::unique_ptr<Metric> make_perplexity(const OptionValues&) {
  return std::make_unique<MeanLoss>(true);
}

std::unique_ptr<Metric> make_loss(const OptionValues&) {
  return std::make_unique<MeanLoss>(false);
}

std::unique_ptr<Metric> make_token_accuracy(const OptionValues&) {
  return std::make_unique<TokenAccuracy>();
}

}  // namespace collie
