#include "kernels/cpu/attention_rows.hpp"

#include <cmath>
#include <limits>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/attention_rows.cpp"
#include "hwy/foreach_target.h"

#include "kernels/cpu/vector-inl.hpp"

HWY_BEFORE_NAMESPACE();
namespace collie::HWY_NAMESPACE {

using cpu::ScoreTile;

HWY_INLINE int64_t visible_keys(const ScoreTile& tile, int64_t query) {
  return HWY_MAX(int64_t{0}, HWY_MIN(tile.keys, tile.first_visible + query));
}

// The number of keys before the first that a query sees.
HWY_INLINE int64_t hidden_keys(const ScoreTile& tile, int64_t query) {
  return HWY_MAX(int64_t{0}, HWY_MIN(tile.keys, tile.first_visible + query - tile.window));
}

HWY_INLINE void multiply(float* x, float factor, int64_t n) {
  const Vec f = constant(factor);
  for_each_vector(
      n, [&](int64_t i, auto access) HWY_ATTR { access.store(hn::Mul(access.load(x + i), f), x + i); });
}

HWY_INLINE void clear(float* x, int64_t n) {
  if (n > 0) std::memset(x, 0, static_cast<size_t>(n) * sizeof(float));
}

HWY_INLINE float largest_score(const float* scores, int64_t n, float score_scale) {
  const Vec lowest = constant(-std::numeric_limits<float>::infinity()), scale = constant(score_scale);
  Vec largest = lowest;
  for_each_vector(n, [&](int64_t j, auto access) HWY_ATTR {
    largest = hn::Max(largest, access.keep(hn::Mul(access.load(scores + j), scale), lowest));
  });
  return max_of_lanes(largest);
}

// Scores become exp(scale · s - largest). Returns their sum.
HWY_INLINE float exponentials(float* scores, int64_t n, float score_scale, float largest) {
  const Vec scale = constant(score_scale), shift = constant(largest), zero = constant(0);
  Vec sums = zero;
  for_each_vector(n, [&](int64_t j, auto access) HWY_ATTR {
    const Vec e = exp_of(hn::Sub(hn::Mul(access.load(scores + j), scale), shift));
    sums = hn::Add(sums, access.keep(e, zero));
    access.store(e, scores + j);
  });
  return sum_of_lanes(sums);
}

void softmax_rows(const ScoreTile& tile, float* largest, float* sums, float* out, int64_t out_stride,
                  int64_t head_dim) {
  for (int64_t i = 0; i < tile.queries; ++i) {
    const int64_t hidden = hidden_keys(tile, i), end = visible_keys(tile, i), visible = end - hidden;
    float* const row = tile.scores + i * tile.keys;
    float* const scores = row + hidden;
    clear(row, hidden);
    clear(row + end, tile.keys - end);
    if (visible == 0) continue;
    const float tile_largest = largest_score(scores, visible, tile.score_scale);
    if (tile_largest > largest[i]) {
      // The first tile finds `largest` = -infinity, a sum of 0 and an `out` that holds nothing yet.
      if (sums[i] > 0) {
        const float correction = std::exp(largest[i] - tile_largest);
        sums[i] *= correction;
        multiply(out + i * out_stride, correction, head_dim);
      }
      largest[i] = tile_largest;
    }
    sums[i] += exponentials(scores, visible, tile.score_scale, largest[i]);
  }
}

void finish_rows(int64_t queries, const float* largest, const float* sums, float* out, int64_t out_stride,
                 int64_t head_dim, float* log_sum_exp, int64_t stride) {
  for (int64_t i = 0; i < queries; ++i) {
    multiply(out + i * out_stride, 1.0F / sums[i], head_dim);
    log_sum_exp[i * stride] =
        static_cast<float>(static_cast<double>(largest[i]) + std::log(static_cast<double>(sums[i])));
  }
}

void softmax_backward_rows(const ScoreTile& tile, int64_t of_one_key, float* d_weights,
                           const float* log_sum_exp, const float* means, int64_t stride) {
  const Vec scale = constant(tile.score_scale);
  for (int64_t i = 0; i < tile.queries; ++i) {
    const int64_t hidden = hidden_keys(tile, i), end = visible_keys(tile, i);
    for (float* row : {tile.scores + i * tile.keys, d_weights + i * tile.keys}) {
      clear(row, hidden);
      clear(row + end, tile.keys - end);
    }
    float* const scores = tile.scores + i * tile.keys + hidden;
    float* const gradients = d_weights + i * tile.keys + hidden;
    const Vec shift = constant(log_sum_exp[i * stride]), mean = constant(means[i * stride]);
    for_each_vector(end - hidden, [&](int64_t j, auto access) HWY_ATTR {
      const Vec p = exp_of(hn::Sub(hn::Mul(access.load(scores + j), scale), shift));
      const Vec d = hn::Sub(access.load(gradients + j), mean);
      access.store(p, scores + j);
      access.store(hn::Mul(hn::Mul(p, d), scale), gradients + j);
    });
    if (i < of_one_key) clear(gradients, end - hidden);
  }
}

template <class T>
HWY_INLINE void dots_of(const T* out, const T* d_out, int64_t heads, int64_t head_dim, float* means) {
  for (int64_t h = 0; h < heads; ++h) {
    Vec sum = constant(0);
    for_each_vector(head_dim, [&](int64_t j, auto access) HWY_ATTR {
      sum = hn::MulAdd(access.load(out + h * head_dim + j), access.load(d_out + h * head_dim + j), sum);
    });
    means[h] = sum_of_lanes(sum);
  }
}

void dot_heads(cpu::Elements out, cpu::Elements d_out, int64_t heads, int64_t head_dim, float* means) {
  typed([&](auto* a, auto* b) HWY_ATTR { dots_of(a, b, heads, head_dim, means); }, out, d_out);
}

}  // namespace collie::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace collie {

HWY_EXPORT(softmax_rows);
HWY_EXPORT(finish_rows);
HWY_EXPORT(softmax_backward_rows);
HWY_EXPORT(dot_heads);

void cpu::softmax_tile(const ScoreTile& tile, float* largest, float* sums, float* out, int64_t out_stride,
                       int64_t head_dim) {
  HWY_DYNAMIC_DISPATCH(softmax_rows)(tile, largest, sums, out, out_stride, head_dim);
}

void cpu::softmax_finish(int64_t queries, const float* largest, const float* sums, float* out,
                         int64_t out_stride, int64_t head_dim, float* log_sum_exp, int64_t stride) {
  HWY_DYNAMIC_DISPATCH(finish_rows)(queries, largest, sums, out, out_stride, head_dim, log_sum_exp, stride);
}

void cpu::softmax_backward_tile(const ScoreTile& tile, int64_t of_one_key, float* d_weights,
                                const float* log_sum_exp, const float* means, int64_t stride) {
  HWY_DYNAMIC_DISPATCH(softmax_backward_rows)(tile, of_one_key, d_weights, log_sum_exp, means, stride);
}

void cpu::head_dots(Elements out, Elements d_out, int64_t heads, int64_t head_dim, float* means) {
  HWY_DYNAMIC_DISPATCH(dot_heads)(out, d_out, heads, head_dim, means);
}

}  // namespace collie
#endif  // HWY_ONCE
