// Backward of flash attention without atomics (Dao, arXiv 2307.08691). One pass gives dq and one gives dk and
// dv; each recomputes the weights. A block has own rows of one head and goes over the rows of the other side,
// N at a time:
//   scores = own · firstᵀ, d_weights = own_d · secondᵀ,
//   weights = exp(scale · scores - log_sum_exp),
//   d_scores = weights (d_weights - delta), or 0 if the query sees one key,
//   sums += d_scores · first, and for keys sums_d += weights · second.
//                    own   own_d   first   second   sums   sums_d
//   Side::queries    q     d_out   k       v        dq
//   Side::keys       k     v       q       d_out    dk     dv
// With a cap, scores are capped and d_scores are multiplied by its slope. With dropout, d_weights, and the
// weights in sums_d, are multiplied by the pair's factor.
// A block of keys goes over the query heads of its group one after another. For .cu files.
#pragma once

#include "kernels/cuda/attention/score_rules.hpp"
#include "kernels/cuda/attention/visible.hpp"

namespace collie::cuda {

template <class T>
struct BackwardOperands {
  HeadRows<const T> own, own_d, first, second;  // of head 0
  HeadRows<T> sums, sums_d;
  const float *log_sum_exp, *deltas;  // [queries, heads]
  const AttentionTile* tiles;
  int heads, own_heads, group;
  int window;
  float score_scale;
  ScoreRules rules;
};

template <class T>
BackwardOperands<T> backward_operands(const AttentionViews& views, const AttentionGradients& gradients,
                                      const TilesOnDevice& tiles, Side side) {
  const auto of = [&](const Matrix& own, const Matrix& own_d, const Matrix& first, const Matrix& second,
                      const Matrix& sums, const Matrix& sums_d, int64_t own_heads) {
    const int64_t dim = views.head_dim;
    return BackwardOperands<T>{head_rows<const T>(own, dim),
                               head_rows<const T>(own_d, dim),
                               head_rows<const T>(first, dim),
                               head_rows<const T>(second, dim),
                               head_rows<T>(sums, dim),
                               head_rows<T>(sums_d, dim),
                               views.log_sum_exp,
                               gradients.deltas,
                               tiles.data,
                               static_cast<int>(views.heads),
                               static_cast<int>(own_heads),
                               static_cast<int>(views.heads / views.kv_heads),
                               tiles.window,
                               views.score_scale,
                               views.rules};
  };
  const auto& [d_out, dq, dk, dv, deltas] = gradients;
  return side == Side::queries ? of(views.q, d_out, views.k, views.v, dq, dq, views.heads)
                               : of(views.k, views.v, views.q, d_out, dk, dv, views.kv_heads);
}

// Steps of a block over the other side's rows and, on the side of keys, over the heads of the group.
template <Side side, int N>
struct BackwardSteps {
  int own_head, group, per_head;

  __device__ int count() const { return side == Side::queries ? per_head : per_head * group; }
  __device__ int other(int step) const { return step % per_head * N; }
  __device__ int head(int step) const {  // the head of the other side
    return side == Side::queries ? own_head / group : own_head * group + step / per_head;
  }
};

}  // namespace collie::cuda
