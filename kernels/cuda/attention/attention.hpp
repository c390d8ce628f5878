// Variable-length flash attention. kernels/operations.hpp says what is computed. The pieces, from the top:
// - library.hpp chooses between cuDNN's attention (kernels/cuda/cudnn) and our own kernels.
// - attention.cpp runs our own kernels: it chooses by element type and uploads the tiles.
// - tiles.hpp cuts documents on the host into tiles of queries and keys, one block of threads per tile.
// - kernels.hpp has the kernels' entry points.
// - score_rules.hpp caps scores and drops weights.
// - visible.hpp has one head's operands, and says who sees whom inside a tile.
// - forward_bfloat16.cu, backward_bfloat16.cu use tensor cores: fragments.hpp (tiles in shared memory),
//   mma.hpp (instructions).
// - forward_float.cu, backward_float.cu use fused multiply-adds: products.hpp.
// - backward.hpp has the algorithm of both backwards.
// - heads.cu does the work once per head: the deltas of the backward, and the merge of two parts.
#pragma once

#include "kernels/cuda/attention/tiles.hpp"
#include "kernels/cuda/memory/workspaces.hpp"
#include "kernels/cuda/views.hpp"

struct CUstream_st;

namespace collie::cuda {

class IndexCache;

// What AttentionScores does besides scaling. Both arrays are on the device, and null if nothing is dropped.
struct ScoreRules {
  float cap = 0;                       // 0: none
  uint64_t mask_key = 0, dropped = 0;  // as in DropoutMask
  float factor = 1;
  const int32_t* query_rows = nullptr;   // words_of_rows() of [queries]
  const int32_t* key_numbers = nullptr;  // [keys]
  uint32_t first_head = 0;

  bool plain() const { return cap == 0 && query_rows == nullptr; }
};

// q, out [queries, heads · head_dim], k, v [keys, kv_heads · head_dim] have one element type and strided
// rows.
struct AttentionViews {
  Matrix q, k, v, out;
  float* log_sum_exp;  // [queries, heads]
  int64_t heads, kv_heads, head_dim;
  float score_scale;
  ScoreRules rules = {};
};

// head_dim is at most 256.
void attention(CUstream_st* stream, IndexCache& indices, const AttentionViews& views,
               const Documents& documents);

// The result is deterministic: one pass over the queries gives dq, one over the keys gives dk and dv.
void attention_backward(CUstream_st* stream, IndexCache& indices, const AttentionViews& views,
                        const Documents& documents, const Matrix& d_out, const Matrix& dq, const Matrix& dk,
                        const Matrix& dv, float* workspace);

// Works in place on out and log_sum_exp, both [queries, heads] float32.
void merge_attention(CUstream_st* stream, const Matrix& out, float* log_sum_exp, const Matrix& part,
                     const float* part_log_sum_exp, int64_t heads);

}  // namespace collie::cuda
