#include <algorithm>
#include <cmath>
#include <limits>
#include <type_traits>
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

using cpu::Elements;

template <class T>
HWY_INLINE float largest_of(const T* x, int64_t n) {
  const Vec lowest = constant(-std::numeric_limits<float>::infinity());
  Vec largest = lowest;
  for_each_vector(n, [&](int64_t i, auto access)
                         HWY_ATTR { largest = hn::Max(largest, access.keep(access.load(x + i), lowest)); });
  return max_of_lanes(largest);
}

// The exponentials take longer than reading, so the next block is prefetched meanwhile (past the end it does
// no harm).
template <class T>
HWY_INLINE float sum_of_exponentials(const T* x, int64_t n, float shift) {
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
template <class T>
HWY_INLINE void statistics_of(const T* logits, int64_t width, double* statistics) {
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

void statistics_row(Elements logits, int64_t width, double* statistics) {
  typed([&](auto* row) HWY_ATTR { statistics_of(row, width, statistics); }, logits);
}

// Logits become exp(logit - shift) · factor, less `scale` for the label, which is rounded once with it. The
// label is not in this shard if it is not below `width`.
template <class T>
HWY_INLINE void gradients_of(T* logits, int64_t width, int64_t label, float shift, float factor,
                             float scale) {
  const Vec s = constant(shift), f = constant(factor);
  const float target = label >= 0 && label < width ? to_float(logits[label]) : 0.0F;
  const Vec of_label = hn::Mul(exp_of(hn::Sub(constant(target), s)), f);
  for_each_vector(width, [&](int64_t i, auto access) HWY_ATTR {
    access.store(hn::Mul(exp_of(hn::Sub(access.load(logits + i), s)), f), logits + i);
  });
  if (label < 0 || label >= width) return;
  if constexpr (std::is_same_v<T, bfloat16>)
    store(hn::GetLane(of_label) - scale, logits + label);
  else
    logits[label] -= scale;
}

void gradients_row(Elements logits, int64_t width, int64_t label, float shift, float factor, float scale) {
  typed([&](auto* row) HWY_ATTR { gradients_of(row, width, label, shift, factor, scale); }, logits);
}

}  // namespace collie::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace collie {

HWY_EXPORT(statistics_row);
HWY_EXPORT(gradients_row);

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
      if (column >= 0 && column < width) row[2] = static_cast<double>(cpu::value_of(at(logits, t, column)));
    }
  });
}

void CpuOperations::cross_entropy_from_statistics(Tensor& logits, std::span<const int32_t> labels,
                                                  int64_t first, const Tensor& statistics,
                                                  double gradient_scale, Tensor& loss_sum) {
  check::cross_entropy_from_statistics(dtype(), logits, labels, first, statistics, loss_sum);
  const auto kernel = &HWY_DYNAMIC_DISPATCH(gradients_row);
  const int64_t width = logits.dim(1);
  std::vector<double> losses(labels.size());
  arena_.for_pieces(logits.dim(0), cpu::rows_per_piece(width), [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; ++t) {
      const int64_t label = labels[static_cast<size_t>(t)], column = label - first;
      if (label == ignored_label) {
        cpu::clear(at(logits, t), width);
        continue;
      }
      const Softmax softmax = combined(statistics, t);
      losses[static_cast<size_t>(t)] = std::log(softmax.sum) + softmax.largest - softmax.target;
      kernel(at(logits, t), width, column, static_cast<float>(softmax.largest),
             static_cast<float>(gradient_scale / softmax.sum), static_cast<float>(gradient_scale));
    }
  });
  double sum = 0;
  for (const double loss : losses) sum += loss;
  *loss_sum.data<double>() += sum;
}

}  // namespace collie
#endif  // HWY_ONCE
