#include <algorithm>
#include <cmath>
#include <vector>

#include "base/random.hpp"
#include "kernels/checks.hpp"
#include "kernels/dropout_mask.hpp"
#include "kernels/reference/reference_operations.hpp"
#include "kernels/reference/view.hpp"

namespace collie {

using reference::View;

namespace {

double capped(double score, double soft_cap) {
  return soft_cap > 0 ? soft_cap * std::tanh(score / soft_cap) : score;
}
// The derivative of a capped score by the score.
double slope_of_cap(double capped_score, double soft_cap) {
  return soft_cap > 0 ? 1 - capped_score * capped_score / (soft_cap * soft_cap) : 1;
}

// One query of one head: its scores with the keys it may see.
std::vector<double> scores_of_query(const View& q, const View& k, int64_t query, int64_t head,
                                    int64_t first_key, int64_t visible, int64_t kv_head, int64_t head_dim,
                                    const AttentionScores& by) {
  std::vector<double> scores(static_cast<size_t>(visible));
  for (int64_t j = 0; j < visible; ++j) {
    double score = 0;
    for (int64_t d = 0; d < head_dim; ++d) score += q(query, head, d) * k(first_key + j, kv_head, d);
    scores[static_cast<size_t>(j)] = capped(score * by.scale, by.soft_cap);
  }
  return scores;
}

// What the weights of these keys are multiplied by: 0 where one is dropped. first_key is the first one's
// number.
std::vector<double> factors_of_query(const AttentionScores& by, int64_t query, int64_t head,
                                     uint64_t first_key, int64_t visible) {
  std::vector<double> factors(static_cast<size_t>(visible), 1);
  if (by.dropout == 0) return factors;
  const DropoutMask mask = dropout_mask(by.dropout_key, by.dropout);
  const uint64_t row = by.query_rows[static_cast<size_t>(query)];
  for (size_t j = 0; j < factors.size(); ++j) {
    const uint64_t key = first_key + j;
    const auto words =
        philox4x32({static_cast<uint32_t>(row), static_cast<uint32_t>(row >> 32),
                    static_cast<uint32_t>(key / 4), static_cast<uint32_t>(1 + by.first_head + head)},
                   {static_cast<uint32_t>(mask.key), static_cast<uint32_t>(mask.key >> 32)});
    factors[j] = words[key % 4] < mask.dropped ? 0 : mask.factor;
  }
  return factors;
}

double log_sum_exp_of(const std::vector<double>& scores) {
  const double largest = *std::max_element(scores.begin(), scores.end());
  double sum = 0;
  for (const double score : scores) sum += std::exp(score - largest);
  return largest + std::log(sum);
}

// Scores become weights.
void weigh(std::vector<double>& scores, double log_sum_exp) {
  for (double& score : scores) score = std::exp(score - log_sum_exp);
}

struct Query {
  int64_t row, head, kv_head, first_key, visible;  // first_key: the row of the first key that it sees
  bool of_one_key;                                 // sees one key and no other
  uint64_t number_of_first_key;                    // for dropout
};

// Calls f for every query of every document, once for each head.
template <class F>
void for_each_query(const AttentionSpans& spans, const AttentionScores& scores,
                    const check::AttentionSizes& sizes, F f) {
  for (size_t s = 0; s + 1 < spans.query_starts.size(); ++s) {
    const int64_t queries = spans.query_starts[s + 1] - spans.query_starts[s];
    const int64_t keys = spans.key_starts[s + 1] - spans.key_starts[s];
    for (int64_t i = 0; i < queries; ++i) {
      const int64_t own_end = keys - queries + spans.past_keys + i + 1;  // behind the query's own key
      const int64_t first = spans.window > 0 ? std::max<int64_t>(0, own_end - spans.window) : 0;
      const int64_t end = spans.causal ? std::min(keys, own_end) : keys;
      const uint64_t number = scores.dropout > 0 ? scores.first_keys[s] + static_cast<uint64_t>(first) : 0;
      for (int64_t h = 0; h < sizes.heads; ++h)
        f(Query{spans.query_starts[s] + i, h, h / (sizes.heads / sizes.kv_heads), spans.key_starts[s] + first,
                end - first, i < spans.queries_of_one_key(s), number});
    }
  }
}

}  // namespace

void ReferenceOperations::attention(const Tensor& q, const Tensor& k, const Tensor& v,
                                    const AttentionSpans& spans, const AttentionScores& scores, Tensor& out,
                                    Tensor& log_sum_exp) {
  const auto sizes = check::attention(dtype(), q, k, v, spans, scores, out, log_sum_exp);
  const View qv(q), kv(k), vv(v), ov(out), lv(log_sum_exp);
  for_each_query(spans, scores, sizes, [&](const Query& at) {
    const auto [t, h, g, first, visible, of_one_key, number] = at;
    auto p = scores_of_query(qv, kv, t, h, first, visible, g, sizes.head_dim, scores);
    const auto factors = factors_of_query(scores, t, h, number, visible);
    lv(t, h) = log_sum_exp_of(p);
    weigh(p, lv(t, h));
    for (int64_t d = 0; d < sizes.head_dim; ++d) {
      double sum = 0;
      for (int64_t j = 0; j < visible; ++j)
        sum += p[static_cast<size_t>(j)] * factors[static_cast<size_t>(j)] * vv(first + j, g, d);
      ov(t, h, d) = sum;
    }
  });
}

// With s = cap(scale · q·k), p = exp(s - log_sum_exp), a factor m for each weight (0 if it is dropped), o =
// (m p)·v over all keys: dv = (m p)ᵀ do; dp = m (do · vᵀ); ds = p (dp - sum(p dp)), where sum(p dp) = o · do,
// times the cap's slope; dq = scale ds · k; dk = scale dsᵀ · q. If there is one key, p is constant, so ds is
// 0.
void ReferenceOperations::attention_backward(const Tensor& q, const Tensor& k, const Tensor& v,
                                             const AttentionSpans& spans, const AttentionScores& scores,
                                             const Tensor& out, const Tensor& log_sum_exp,
                                             const Tensor& d_out, Tensor& dq, Tensor& dk, Tensor& dv) {
  const auto sizes = check::attention(dtype(), q, k, v, spans, scores, out, log_sum_exp);
  check::attention_gradients(dtype(), q, k, d_out, dq, dk, dv);
  const View qv(q), kv(k), vv(v), ov(out), lv(log_sum_exp), dov(d_out), dqv(dq), dkv(dk), dvv(dv);
  fill(dq, 0);
  fill(dk, 0);
  fill(dv, 0);
  for_each_query(spans, scores, sizes, [&](const Query& at) {
    const auto [t, h, g, first, visible, of_one_key, number] = at;
    const auto s = scores_of_query(qv, kv, t, h, first, visible, g, sizes.head_dim, scores);
    const auto factors = factors_of_query(scores, t, h, number, visible);
    auto p = s;
    weigh(p, lv(t, h));
    double mean = 0;
    for (int64_t d = 0; d < sizes.head_dim; ++d) mean += ov(t, h, d) * dov(t, h, d);
    for (int64_t j = 0; j < visible; ++j) {
      const auto i = static_cast<size_t>(j);
      double dp = 0;
      for (int64_t d = 0; d < sizes.head_dim; ++d) dp += dov(t, h, d) * vv(first + j, g, d);
      dp *= factors[i];
      const double ds =
          of_one_key ? 0 : p[i] * (dp - mean) * slope_of_cap(s[i], scores.soft_cap) * scores.scale;
      for (int64_t d = 0; d < sizes.head_dim; ++d) {
        dqv(t, h, d) += ds * kv(first + j, g, d);
        dkv(first + j, g, d) += ds * qv(t, h, d);
        dvv(first + j, g, d) += p[i] * factors[i] * dov(t, h, d);
      }
    }
  });
}

}  // namespace collie
