#include <algorithm>
#include <cmath>
#include <vector>

#include "kernels/checks.hpp"
#include "kernels/reference/reference_operations.hpp"
#include "kernels/reference/view.hpp"

namespace collie {

using reference::View;

namespace {

// One query of one head: its scaled scores with the keys it may see.
std::vector<double> scores_of_query(const View& q, const View& k, int64_t query, int64_t head,
                                    int64_t first_key, int64_t visible, int64_t kv_head, int64_t head_dim,
                                    double score_scale) {
  std::vector<double> scores(static_cast<size_t>(visible));
  for (int64_t j = 0; j < visible; ++j) {
    double score = 0;
    for (int64_t d = 0; d < head_dim; ++d) score += q(query, head, d) * k(first_key + j, kv_head, d);
    scores[static_cast<size_t>(j)] = score * score_scale;
  }
  return scores;
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

// Calls f(query, head, kv_head, first visible key, number of visible keys, whether it sees one key and no
// other) for every query of every document.
template <class F>
void for_each_query(const AttentionSpans& spans, const check::AttentionSizes& sizes, F f) {
  for (size_t s = 0; s + 1 < spans.query_starts.size(); ++s) {
    const int64_t queries = spans.query_starts[s + 1] - spans.query_starts[s];
    const int64_t keys = spans.key_starts[s + 1] - spans.key_starts[s];
    for (int64_t i = 0; i < queries; ++i) {
      const int64_t end = spans.causal ? keys - queries + i + 1 : keys;
      const int64_t first = spans.window > 0 ? std::max<int64_t>(0, end - spans.window) : 0;
      for (int64_t h = 0; h < sizes.heads; ++h)
        f(spans.query_starts[s] + i, h, h / (sizes.heads / sizes.kv_heads), spans.key_starts[s] + first,
          end - first, i < spans.queries_of_one_key(s));
    }
  }
}

}  // namespace

void ReferenceOperations::attention(const Tensor& q, const Tensor& k, const Tensor& v,
                                    const AttentionSpans& spans, double score_scale, Tensor& out,
                                    Tensor& log_sum_exp) {
  const auto sizes = check::attention(dtype(), q, k, v, spans, out, log_sum_exp);
  const View qv(q), kv(k), vv(v), ov(out), lv(log_sum_exp);
  for_each_query(spans, sizes, [&](int64_t t, int64_t h, int64_t g, int64_t first, int64_t visible, bool) {
    auto p = scores_of_query(qv, kv, t, h, first, visible, g, sizes.head_dim, score_scale);
    lv(t, h) = log_sum_exp_of(p);
    weigh(p, lv(t, h));
    for (int64_t d = 0; d < sizes.head_dim; ++d) {
      double sum = 0;
      for (int64_t j = 0; j < visible; ++j) sum += p[static_cast<size_t>(j)] * vv(first + j, g, d);
      ov(t, h, d) = sum;
    }
  });
}

// With s = scale · q·k, p = exp(s - log_sum_exp), o = p·v over all keys: dv = pᵀ do; dp = do · vᵀ;
// ds = p (dp - sum(p dp)), where sum(p dp) = o · do; dq = scale ds · k; dk = scale dsᵀ · q.
// If there is one key, p is constant, so ds is 0.
void ReferenceOperations::attention_backward(const Tensor& q, const Tensor& k, const Tensor& v,
                                             const AttentionSpans& spans, double score_scale,
                                             const Tensor& out, const Tensor& log_sum_exp,
                                             const Tensor& d_out, Tensor& dq, Tensor& dk, Tensor& dv) {
  const auto sizes = check::attention(dtype(), q, k, v, spans, out, log_sum_exp);
  check::attention_gradients(dtype(), q, k, d_out, dq, dk, dv);
  const View qv(q), kv(k), vv(v), ov(out), lv(log_sum_exp), dov(d_out), dqv(dq), dkv(dk), dvv(dv);
  fill(dq, 0);
  fill(dk, 0);
  fill(dv, 0);
  for_each_query(spans, sizes,
                 [&](int64_t t, int64_t h, int64_t g, int64_t first, int64_t visible, bool sees_one_key) {
                   auto p = scores_of_query(qv, kv, t, h, first, visible, g, sizes.head_dim, score_scale);
                   weigh(p, lv(t, h));
                   double mean = 0;
                   for (int64_t d = 0; d < sizes.head_dim; ++d) mean += ov(t, h, d) * dov(t, h, d);
                   for (int64_t j = 0; j < visible; ++j) {
                     double dp = 0;
                     for (int64_t d = 0; d < sizes.head_dim; ++d) dp += dov(t, h, d) * vv(first + j, g, d);
                     const double weight = p[static_cast<size_t>(j)];
                     const double ds = sees_one_key ? 0 : weight * (dp - mean) * score_scale;
                     for (int64_t d = 0; d < sizes.head_dim; ++d) {
                       dqv(t, h, d) += ds * kv(first + j, g, d);
                       dkv(first + j, g, d) += ds * qv(t, h, d);
                       dvv(first + j, g, d) += weight * dov(t, h, d);
                     }
                   }
                 });
}

}  // namespace collie
