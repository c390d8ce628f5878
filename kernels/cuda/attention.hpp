// Variable-length flash attention; what is computed is said in kernels/operations.hpp.
#pragma once

#include "kernels/cuda/attention_tiles.hpp"
#include "kernels/cuda/views.hpp"
#include "kernels/cuda/workspaces.hpp"

struct CUstream_st;

namespace collie::cuda {

class IndexCache;

// q, out [queries, heads · head_dim], k, v [keys, kv_heads · head_dim], of one element type, rows strided.
struct AttentionViews {
  Matrix q, k, v, out;
  float* log_sum_exp;  // [queries, heads]
  int64_t heads, kv_heads, head_dim;
  float score_scale;
};

// head_dim is at most 256.
void attention(CUstream_st* stream, IndexCache& indices, const AttentionViews& views,
               const Documents& documents);

// Deterministic: one pass over the queries for dq, one over the keys for dk and dv.
void attention_backward(CUstream_st* stream, IndexCache& indices, const AttentionViews& views,
                        const Documents& documents, const Matrix& d_out, const Matrix& dq, const Matrix& dk,
                        const Matrix& dv, float* workspace);

// In place on out and log_sum_exp, both [queries, heads] float32.
void merge_attention(CUstream_st* stream, const Matrix& out, float* log_sum_exp, const Matrix& part,
                     const float* part_log_sum_exp, int64_t heads);

}  // namespace collie::cuda
