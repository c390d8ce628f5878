#include "models/sampling.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <vector>

#include "base/error.hpp"
#include "base/random.hpp"

namespace collie {
namespace {

// Token ids, most likely first; equal logits in order of their id.
std::vector<int32_t> by_likelihood(std::span<const float> logits, int64_t count) {
  std::vector<int32_t> order(logits.size());
  std::iota(order.begin(), order.end(), 0);
  const auto more_likely = [&](int32_t a, int32_t b) {
    return logits[a] != logits[b] ? logits[a] > logits[b] : a < b;
  };
  std::partial_sort(order.begin(), order.begin() + count, order.end(), more_likely);
  order.resize(static_cast<size_t>(count));
  return order;
}

}  // namespace

int32_t sample_token(std::span<const float> logits, const Sampling& sampling, uint64_t index) {
  COLLIE_ASSERT(!logits.empty(), "sampling from no logits");
  if (sampling.temperature <= 0)
    return static_cast<int32_t>(std::max_element(logits.begin(), logits.end()) - logits.begin());

  const auto vocabulary = static_cast<int64_t>(logits.size());
  const int64_t kept = sampling.top_k > 0 ? std::min(sampling.top_k, vocabulary) : vocabulary;
  const std::vector<int32_t> order = by_likelihood(logits, kept);

  std::vector<double> weights(order.size());
  for (size_t i = 0; i < order.size(); ++i)
    weights[i] = std::exp((static_cast<double>(logits[order[i]]) - logits[order[0]]) / sampling.temperature);
  double total = std::accumulate(weights.begin(), weights.end(), 0.0);

  size_t candidates = weights.size();
  if (sampling.top_p < 1) {
    double reached = 0;
    candidates = 0;
    while (candidates < weights.size() && reached < sampling.top_p * total) reached += weights[candidates++];
    candidates = std::max<size_t>(candidates, 1);
    total = std::accumulate(weights.begin(), weights.begin() + static_cast<int64_t>(candidates), 0.0);
  }

  double remaining = RandomStream(random_key(sampling.seed, "sampling")).uniform(index) * total;
  for (size_t i = 0; i < candidates; ++i) {
    remaining -= weights[i];
    if (remaining < 0) return order[i];
  }
  return order[candidates - 1];
}

}  // namespace collie
