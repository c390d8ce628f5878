// The interface between attention.cpp and the kernels of one element type.
#pragma once

#include "kernels/cuda/attention/attention.hpp"

namespace collie::cuda {

// Tiles on the device, and who sees whom in them. If window is `unlimited`, there is no limit: every key that
// the tiles hold is seen.
struct TilesOnDevice {
  const AttentionTile* data;
  int64_t count;
  int32_t window;
};
inline constexpr int32_t unlimited = 0x7FFFFFFF;

// The backward reads and writes these besides the forward's operands.
struct AttentionGradients {
  Matrix d_out, dq, dk, dv;
  const float* deltas;  // [queries, heads]: out · d_out
};

// The largest head dimension that kernels are made for. Other dimensions are padded with zeros to the next
// one.
inline constexpr int64_t largest_head_dim = 256;

// The number of rows of the tiles that a kernel takes.
inline int64_t forward_queries(Element element, int64_t head_dim) {
  return element == Element::bf16 && head_dim <= 128 ? 128 : 64;
}
inline int64_t backward_rows(Element element, int64_t head_dim) {
  return element == Element::f32 && head_dim > 128 ? 32 : 64;
}

// deltas [queries, heads] = the dot product of each head of out and d_out.
void attention_deltas(CUstream_st* stream, const AttentionViews& views, const Matrix& d_out, float* deltas);

// Computes out and log_sum_exp of tiles of forward_queries() rows.
void attention_float(CUstream_st* stream, const AttentionViews& views, const TilesOnDevice& tiles);
void attention_bfloat16(CUstream_st* stream, const AttentionViews& views, const TilesOnDevice& tiles);

// Computes dq of tiles of queries, and dk and dv of tiles of keys. Both have backward_rows() rows.
enum class Side { queries, keys };
void attention_backward_float(CUstream_st* stream, const AttentionViews& views,
                              const AttentionGradients& gradients, const TilesOnDevice& tiles, Side side);
void attention_backward_bfloat16(CUstream_st* stream, const AttentionViews& views,
                                 const AttentionGradients& gradients, const TilesOnDevice& tiles, Side side);

}  // namespace collie::cuda
