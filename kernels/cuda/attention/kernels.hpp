// What attention.cpp and the kernels of one element type agree on.
#pragma once

#include "kernels/cuda/attention/attention.hpp"

namespace collie::cuda {

// Tiles on the device, and who sees whom in them: every key that the tiles hold where window is `unlimited`.
struct TilesOnDevice {
  const AttentionTile* data;
  int64_t count;
  int32_t window;
};
inline constexpr int32_t unlimited = 0x7FFFFFFF;

// What the backward reads and writes beside the forward's operands.
struct AttentionGradients {
  Matrix d_out, dq, dk, dv;
  const float* deltas;  // [queries, heads]: out · d_out
};

// Head dimensions that kernels are made for; others are padded with zeros to the next.
inline constexpr int64_t largest_head_dim = 256;

// Rows of the tiles that a kernel takes.
inline int64_t forward_queries(Element element, int64_t head_dim) {
  return element == Element::bf16 && head_dim <= 128 ? 128 : 64;
}
inline int64_t backward_rows(Element element, int64_t head_dim) {
  return element == Element::f32 && head_dim > 128 ? 32 : 64;
}

// deltas [queries, heads] = the dot product of each head of out and d_out.
void attention_deltas(CUstream_st* stream, const AttentionViews& views, const Matrix& d_out, float* deltas);

// out and log_sum_exp of tiles of forward_queries().
void attention_float(CUstream_st* stream, const AttentionViews& views, const TilesOnDevice& tiles);
void attention_bfloat16(CUstream_st* stream, const AttentionViews& views, const TilesOnDevice& tiles);

// dq of tiles of queries; dk and dv of tiles of keys; both of backward_rows().
enum class Side { queries, keys };
void attention_backward_float(CUstream_st* stream, const AttentionViews& views,
                              const AttentionGradients& gradients, const TilesOnDevice& tiles, Side side);
void attention_backward_bfloat16(CUstream_st* stream, const AttentionViews& views,
                                 const AttentionGradients& gradients, const TilesOnDevice& tiles, Side side);

}  // namespace collie::cuda
