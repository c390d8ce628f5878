#include <algorithm>
#include <cmath>
#include <limits>

#include "kernels/checks.hpp"
#include "kernels/reference/reference_operations.hpp"
#include "kernels/reference/view.hpp"

namespace collie {

using reference::View;

void ReferenceOperations::softmax_statistics(const Tensor& logits, std::span<const int32_t> labels,
                                             int64_t first, Tensor& statistics) {
  check::softmax_statistics(dtype(), logits, labels, first, statistics);
  fill(statistics, 0);
  const View lv(logits), sv(statistics);
  for (int64_t t = 0; t < lv.rows(); ++t) {
    const int64_t label = labels[static_cast<size_t>(t)];
    if (label == ignored_label) continue;
    double largest = -std::numeric_limits<double>::infinity(), sum = 0;
    for (int64_t j = 0; j < lv.width(); ++j) largest = std::max(largest, lv(t, j));
    // A shard without a finite logit has no part in the sum.
    const double shift = std::max(largest, std::numeric_limits<double>::lowest());
    for (int64_t j = 0; j < lv.width(); ++j) sum += std::exp(lv(t, j) - shift);
    sv(t, 0) = largest;
    sv(t, 1) = sum;
    if (label >= first && label < first + lv.width()) sv(t, 2) = lv(t, label - first);
  }
}

void ReferenceOperations::cross_entropy_from_statistics(Tensor& logits, std::span<const int32_t> labels,
                                                        int64_t first, const Tensor& statistics,
                                                        double gradient_scale, Tensor& loss_sum) {
  check::cross_entropy_from_statistics(dtype(), logits, labels, first, statistics, loss_sum);
  const View lv(logits), sv(statistics);  // sv(shard, token, which)
  const int64_t shards = statistics.dim(0);
  double loss = 0;
  for (int64_t t = 0; t < lv.rows(); ++t) {
    const int64_t label = labels[static_cast<size_t>(t)];
    if (label == ignored_label) {
      for (int64_t j = 0; j < lv.width(); ++j) lv(t, j) = 0;
      continue;
    }
    double largest = -std::numeric_limits<double>::infinity(), sum = 0, target = 0;
    for (int64_t r = 0; r < shards; ++r) largest = std::max(largest, sv(r, t, 0));
    for (int64_t r = 0; r < shards; ++r) {
      sum += sv(r, t, 1) * std::exp(sv(r, t, 0) - largest);
      target += sv(r, t, 2);
    }
    loss += std::log(sum) + largest - target;
    for (int64_t j = 0; j < lv.width(); ++j)
      lv(t, j) = (std::exp(lv(t, j) - largest) / sum - (first + j == label ? 1 : 0)) * gradient_scale;
  }
  *loss_sum.data<double>() += loss;
}

}  // namespace collie
