// The elementwise half of attention, which works on a tile of scores between its matrix products.
#pragma once

#include <cstdint>

#include "kernels/cpu/elements.hpp"

namespace collie::cpu {

// A tile of scores [queries, keys], row-major and dense. Query i sees the first min(keys, first_visible + i)
// keys of the tile (none if that is not positive), and of these only the ones from first_visible + i - window
// on. The rest of its row becomes 0.
struct ScoreTile {
  float* scores;
  int64_t queries, keys, first_visible, window;
  float score_scale;
};

// Online softmax (Milakov & Gimelshein, arXiv 1805.02867) of a tile, in place: scores become exp(scale · s -
// largest). largest, sums [queries] are updated. out [queries, head_dim] is rescaled to the new `largest`.
void softmax_tile(const ScoreTile& tile, float* largest, float* sums, float* out, int64_t out_stride,
                  int64_t head_dim);

// out /= sums; log_sum_exp = largest + log(sums), with its elements `stride` apart.
void softmax_finish(int64_t queries, const float* largest, const float* sums, float* out, int64_t out_stride,
                    int64_t head_dim, float* log_sum_exp, int64_t stride);

// Scores become p = exp(scale · s - log_sum_exp), and d_weights (the gradient of p, [queries, keys]) becomes
// ds = scale · p (dp - mean), which is 0 for the first `of_one_key` queries. In log_sum_exp and means the
// queries' elements are `stride` apart.
void softmax_backward_tile(const ScoreTile& tile, int64_t of_one_key, float* d_weights,
                           const float* log_sum_exp, const float* means, int64_t stride);

// means[h] = out[h] · d_out[h] for the heads of one query; each is [heads, head_dim], both of one type.
void head_dots(Elements out, Elements d_out, int64_t heads, int64_t head_dim, float* means);

}  // namespace collie::cpu
