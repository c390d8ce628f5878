// Attention over packed documents, and its backward, as graphs of cuDNN's operations: the pattern that its
// flash attention engines know (Dao, arXiv 2307.08691).
#pragma once

#include <compare>

#include "kernels/cuda/cudnn/graph.hpp"

namespace collie::cuda {

enum class CudnnMask : uint8_t {
  none,         // every query sees all keys of its document
  causal,       // a document has as many keys as queries
  causal_last,  // its last query stands at its last key
};

// What a plan is made by: bounds of a packing, so that many packings have one plan. Strides are elements from
// one row of a matrix to the next.
struct CudnnAttentionShape {
  int64_t documents;      // at least as many as there are; of the others, all lengths are 0
  int64_t queries, keys;  // at least as many as the longest document has
  int64_t heads, kv_heads, head_dim;
  CudnnMask mask;
  bool window;
  struct Strides {
    int64_t q, k, v, out;
    int64_t d_out = 0, dq = 0, dk = 0, dv = 0;  // of the backward
    auto operator<=>(const Strides&) const = default;
  } strides;
  // The backward adds the gradient of q from all blocks of keys at once, in any order; else through a
  // workspace of documents · heads · queries · keys bfloat16.
  bool any_order = false;

  int64_t group() const { return heads / kv_heads; }
  auto operator<=>(const CudnnAttentionShape&) const = default;
};

// The tensors of the graphs, under their numbers.
namespace cudnn_tensor {
enum : int64_t {
  q = 1,  // bfloat16 [queries, heads · head_dim]
  k,      // [keys, kv_heads · head_dim]
  v,
  out,
  log_sum_exp,  // float32 [queries, heads]
  d_out,
  dq,
  dk,
  dv,
  deltas,           // float32 [queries, heads]: out · d_out
  dq_sums,          // float32, as dq: where any_order; 0 at the start
  dk_of_all_heads,  // bfloat16 [keys, heads · head_dim], where heads share keys; dk's rows are dense then
  dv_of_all_heads,
  // int32, on the device
  query_lengths,  // [documents]
  key_lengths,
  offsets,  // + one of the matrices above: [documents + 1], elements from its start to a document's first
  // On the host.
  score_scale = 64,  // float
  one,               // float: 1
  window,            // float; int32 where the mask is causal_last
  minus_infinity,    // float; three: the engines take each mask's for its own
  minus_infinity_causal,
  minus_infinity_window,
};
}  // namespace cudnn_tensor

CudnnGraph cudnn_attention(const Cudnn& library, const CudnnAttentionShape& shape);
CudnnGraph cudnn_attention_backward(const Cudnn& library, const CudnnAttentionShape& shape);

}  // namespace collie::cuda
