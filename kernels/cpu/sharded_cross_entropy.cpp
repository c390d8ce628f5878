#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "kernels/checks.hpp"
#include "kernels/cpu/cpu_operations.hpp"
#include "kernels/cpu/pieces.hpp"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/sharded_cross_entropy.cpp"
#include "hwy/foreach_target.h"

#include "hwy/cache_control.h"
#include "kernels/cpu/vector-inl.hpp"

HWY_BEFORE_NAMESPACE();
namespace collie::HWY_NAMESPACE {

// The number of logits of a row that are worked on together. They stay in the cache between the two loops
// over them.
constexpr int64_t block = 4096;

HWY_INLINE float largest_of(const float* x, int64_t n) {
  const Vec lowest = constant(-std::numeric_limits<float>::infinity());
  Vec largest = lowest;
  for_each_vector(n, [&](int64_t i, auto access)
                         HWY_ATTR { largest = hn::Max(largest, access.keep(access.load(x + i), lowest)); });
  return max_of_lanes(largest);
}

// The exponentials take longer than reading, so the next block is prefetched meanwhile (past the end it does
// no harm).
HWY_INLINE float sum_of_exponentials(const float* x, int64_t n, float shift) {
  const Vec s = constant(shift), zero = constant(0);
  Vec sums = zero;
  for_each_vector(n, [&](int64_t i, auto access) HWY_ATTR {
    hwy::Prefetch(x + i + block);
    sums = hn::Add(sums, access.keep(exp_of(hn::Sub(access.load(x + i), s)), zero));
  });
  return sum_of_lanes(sums);
}

// The largest logit of a row and the sum of exp(logit - largest), in one pass over memory. It is the online
// softmax of Milakov & Gimelshein (arXiv 1805.02867), one block at a time.
void statistics_row(const float* logits, int64_t width, double* statistics) {
  float largest = -std::numeric_limits<float>::infinity();
  double sum = 0;
  for (int64_t first = 0; first < width; first += block) {
    const int64_t count = HWY_MIN(block, width - first);
    const float block_largest = largest_of(logits + first, count);
    if (block_largest > largest) {
      sum *= std::exp(static_cast<double>(largest) - static_cast<double>(block_largest));
      largest = block_largest;
    }
    // If no logit is finite so far, none has a part in the sum.
    const float shift = HWY_MAX(largest, std::numeric_limits<float>::lowest());
    sum += static_cast<double>(sum_of_exponentials(logits + first, count, shift));
  }
  statistics[0] = static_cast<double>(largest);
  statistics[1] = sum;
}

// Logits become exp(logit - shift) · factor.
void weights_row(float* logits, int64_t width, float shift, float factor) {
  const Vec s = constant(shift), f = constant(factor);
  for_each_vector(width, [&](int64_t i, auto access) HWY_ATTR {
    access.store(hn::Mul(exp_of(hn::Sub(access.load(logits + i), s)), f), logits + i);
  });
}

}  // namespace collie::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace collie {

HWY_EXPORT(statistics_row);
HWY_EXPORT(weights_row);

using cpu::at;

namespace {

// One token's softmax over all shards.
struct Softmax {
  double largest, sum, target;  // the largest logit, the sum of exp(logit - largest), the label's logit
};

Softmax combined(const Tensor& statistics, int64_t token) {
  const int64_t shards = statistics.dim(0), stride = 3 * statistics.dim(1);
  const double* const of_token = statistics.data<double>() + 3 * token;
  Softmax softmax{-std::numeric_limits<double>::infinity(), 0, 0};
  for (int64_t r = 0; r < shards; ++r) softmax.largest = std::max(softmax.largest, of_token[r * stride]);
  for (int64_t r = 0; r < shards; ++r) {
    softmax.sum += of_token[r * stride + 1] * std::exp(of_token[r * stride] - softmax.largest);
    softmax.target += of_token[r * stride + 2];
  }
  return softmax;
}

}  // namespace

void CpuOperations::softmax_statistics(const Tensor& logits, std::span<const int32_t> labels, int64_t first,
                                       Tensor& statistics) {
  check::softmax_statistics(dtype(), logits, labels, first, statistics);
  const auto kernel = &HWY_DYNAMIC_DISPATCH(statistics_row);
  const int64_t width = logits.dim(1);
  arena_.for_pieces(logits.dim(0), cpu::rows_per_piece(width), [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; ++t) {
      const int64_t label = labels[static_cast<size_t>(t)], column = label - first;
      double* const row = statistics.data<double>() + 3 * t;
      std::fill_n(row, 3, 0.0);
      if (label == ignored_label) continue;
      kernel(at(logits, t), width, row);
      if (column >= 0 && column < width) row[2] = static_cast<double>(*at(logits, t, column));
    }
  });
}

void CpuOperations::cross_entropy_from_statistics(Tensor& logits, std::span<const int32_t> labels,
                                                  int64_t first, const Tensor& statistics,
                                                  double gradient_scale, Tensor& loss_sum) {
  check::cross_entropy_from_statistics(dtype(), logits, labels, first, statistics, loss_sum);
  const auto kernel = &HWY_DYNAMIC_DISPATCH(weights_row);
  const int64_t width = logits.dim(1);
  std::vector<double> losses(labels.size());
  arena_.for_pieces(logits.dim(0), cpu::rows_per_piece(width), [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; ++t) {
      const int64_t label = labels[static_cast<size_t>(t)], column = label - first;
      if (label == ignored_label) {
        std::fill_n(at(logits, t), width, 0.0F);
        continue;
      }
      const Softmax softmax = combined(statistics, t);
      losses[static_cast<size_t>(t)] = std::log(softmax.sum) + softmax.largest - softmax.target;
      kernel(at(logits, t), width, static_cast<float>(softmax.largest),
             static_cast<float>(gradient_scale / softmax.sum));
      if (column >= 0 && column < width) *at(logits, t, column) -= static_cast<float>(gradient_scale);
    }
  });
  double sum = 0;
  for (const double loss : losses) sum += loss;
  *loss_sum.data<double>() += sum;
}

}  // namespace collie
#endif  // HWY_ONCE
