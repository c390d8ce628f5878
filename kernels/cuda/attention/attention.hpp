// Variable-length flash attention; what is computed is said in kernels/operations.hpp. The pieces, from the
// top:
//   library.hpp    which attention is used: cuDNN's (kernels/cuda/cudnn) or the own kernels
//   attention.cpp  the own kernels: chooses by element type, uploads the tiles
//   tiles.hpp      on the host: how documents are cut into tiles of queries and keys, a block of threads each
//   kernels.hpp    the kernels' entry points; visible.hpp: one head's operands, and who sees whom inside a
//   tile forward_bfloat16.cu, backward_bfloat16.cu   on tensor cores: fragments.hpp (tiles in shared memory),
//   mma.hpp (instructions) forward_float.cu, backward_float.cu         on fused multiply-adds: products.hpp
//   backward.hpp   the algorithm of both backwards
//   heads.cu       what is done once a head: the deltas of the backward, the merge of two parts
#pragma once

#include "kernels/cuda/attention/tiles.hpp"
#include "kernels/cuda/memory/workspaces.hpp"
#include "kernels/cuda/views.hpp"

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
