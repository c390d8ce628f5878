#include "models/sampling.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "base/error.hpp"
#include "base/random.hpp"

namespace collie {
namespace {

// Keskar et al., arXiv 1909.05858, section 4.1, with the sign that transformers minds.
std::vector<float> penalised(std::span<const float> logits, double penalty, std::span<const int32_t> seen) {
  std::vector<float> result(logits.begin(), logits.end());
  if (penalty == 1) return result;
  const auto by = static_cast<float>(penalty);
  for (const int32_t token : seen) {
    COLLIE_ASSERT(token >= 0 && static_cast<size_t>(token) < logits.size(), "token {} of {}", token,
                  logits.size());
    result[token] = result[token] < 0 ? result[token] * by : result[token] / by;
  }
  return result;
}

// Token ids, most likely first; equal logits in order of their id. Those that are as likely as the last of
// top_k are among them.
std::vector<int32_t> by_likelihood(std::span<const float> logits, int64_t top_k) {
  std::vector<int32_t> order(logits.size());
  std::iota(order.begin(), order.end(), 0);
  const auto more_likely = [&](int32_t a, int32_t b) {
    return logits[a] != logits[b] ? logits[a] > logits[b] : a < b;
  };
  auto end = order.end();
  if (top_k > 0 && static_cast<size_t>(top_k) < order.size()) {
    const auto last = order.begin() + top_k - 1;
    std::nth_element(order.begin(), last, order.end(), more_likely);
    const float least = logits[*last];
    end = std::partition(order.begin(), order.end(), [&](int32_t token) { return logits[token] >= least; });
  }
  std::sort(order.begin(), end, more_likely);
  order.erase(end, order.end());
  return order;
}

double total_of(const std::vector<Candidate>& candidates) {
  double total = 0;
  for (const Candidate& candidate : candidates) total += candidate.weight;
  return total;
}

void keep_top_p(std::vector<Candidate>& candidates, double top_p) {
  const double wanted = top_p * total_of(candidates);
  double reached = 0;
  size_t kept = 0;
  while (kept < candidates.size() && reached < wanted) reached += candidates[kept++].weight;
  candidates.resize(std::max<size_t>(kept, 1));
}

// Nguyen et al., arXiv 2407.01082.
void keep_min_p(std::vector<Candidate>& candidates, double min_p) {
  const double least = min_p * candidates.front().weight;
  size_t kept = 1;
  while (kept < candidates.size() && candidates[kept].weight >= least) ++kept;
  candidates.resize(kept);
}

// Meister et al., arXiv 2202.00666: by how much a token's surprise differs from the expected one. Tokens that
// differ as much as the last that is needed are kept, too.
void keep_typical(std::vector<Candidate>& candidates, double typical_p) {
  const double total = total_of(candidates);
  double entropy = 0;
  for (const Candidate& candidate : candidates)
    if (const double p = candidate.weight / total; p > 0) entropy -= p * std::log(p);
  std::vector<double> difference(candidates.size());
  for (size_t i = 0; i < candidates.size(); ++i)
    difference[i] = std::abs(-std::log(candidates[i].weight / total) - entropy);
  std::vector<size_t> order(candidates.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::stable_sort(order.begin(), order.end(),
                   [&](size_t a, size_t b) { return difference[a] < difference[b]; });
  double reached = 0;
  size_t last = 0;
  for (; last + 1 < order.size(); ++last)
    if ((reached += candidates[order[last]].weight / total) >= typical_p) break;
  const double most = difference[order[last]];
  std::vector<Candidate> kept;
  for (size_t i = 0; i < candidates.size(); ++i)
    if (difference[i] <= most) kept.push_back(candidates[i]);
  candidates = std::move(kept);
}

}  // namespace

std::vector<Candidate> sampling_candidates(std::span<const float> logits, const Sampling& sampling,
                                           std::span<const int32_t> seen) {
  COLLIE_ASSERT(!logits.empty() && sampling.temperature > 0, "{} logits, temperature {}", logits.size(),
                sampling.temperature);
  const std::vector<float> scores = penalised(logits, sampling.repetition_penalty, seen);
  const std::vector<int32_t> order = by_likelihood(scores, sampling.top_k);
  std::vector<Candidate> candidates;
  for (const int32_t token : order)
    candidates.push_back(
        {token, std::exp((static_cast<double>(scores[token]) - scores[order[0]]) / sampling.temperature)});
  if (sampling.top_p < 1) keep_top_p(candidates, sampling.top_p);
  if (sampling.min_p > 0) keep_min_p(candidates, sampling.min_p);
  if (sampling.typical_p < 1) keep_typical(candidates, sampling.typical_p);
  return candidates;
}

int32_t sample_token(std::span<const float> logits, const Sampling& sampling, std::span<const int32_t> seen,
                     uint64_t index) {
  COLLIE_ASSERT(!logits.empty(), "sampling from no logits");
  if (sampling.temperature <= 0) {
    const std::vector<float> scores = penalised(logits, sampling.repetition_penalty, seen);
    return static_cast<int32_t>(std::max_element(scores.begin(), scores.end()) - scores.begin());
  }
  const std::vector<Candidate> candidates = sampling_candidates(logits, sampling, seen);
  double remaining =
      RandomStream(random_key(sampling.seed, "sampling")).uniform(index) * total_of(candidates);
  for (const Candidate& candidate : candidates) {
    remaining -= candidate.weight;
    if (remaining < 0) return candidate.token;
  }
  return candidates.back().token;
}

}  // namespace collie
