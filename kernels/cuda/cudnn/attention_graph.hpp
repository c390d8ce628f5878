// Attention over packed documents, and its backward, as graphs of cuDNN's operations. They have the pattern
// that its flash attention engines know (Dao, arXiv 2307.08691).
#pragma once

#include <compare>

#include "kernels/cuda/cudnn/graph.hpp"

namespace collie::cuda {

enum class CudnnMask : uint8_t {
  none,         // every query sees all keys of its document
  causal,       // a document has as many keys as queries
  causal_last,  // the last query of a document stands at its last key
};

// The key by which a plan is made. It gives bounds of a packing, so that many packings share one plan.
// Strides are elements from one row of a matrix to the next.
struct CudnnAttentionShape {
  int64_t documents;      // at least as many as there are; the additional ones have length 0
  int64_t queries, keys;  // at least as many as the longest document has
  int64_t heads, kv_heads, head_dim;
  CudnnMask mask;
  bool window;
  struct Strides {
    int64_t q, k, v, out;
    int64_t d_out = 0, dq = 0, dk = 0, dv = 0;  // used by the backward
    auto operator<=>(const Strides&) const = default;
  } strides;
  // True: the backward adds the gradient of q from all blocks of keys at once, in any order. False: it goes
  // through a workspace of documents · heads · queries · keys bfloat16.
  bool any_order = false;

  int64_t group() const { return heads / kv_heads; }
  auto operator<=>(const CudnnAttentionShape&) const = default;
};

// The numbers of the graphs' tensors.
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
  dq_sums,          // float32, as dq: used if any_order; 0 at the start
  dk_of_all_heads,  // bfloat16 [keys, heads · head_dim], used if heads share keys; dk's rows are dense then
  dv_of_all_heads,
  // These are int32, on the device.
  query_lengths,  // [documents]
  key_lengths,
  offsets,  // + one of the matrices above: [documents + 1], elements from its start to a document's first
  // These are on the host.
  score_scale = 64,  // float
  one,               // float: 1
  window,            // float; int32 if the mask is causal_last
  minus_infinity,    // float; three of them, because the engines use a different one per mask
  minus_infinity_causal,
  minus_infinity_window,
};
}  // namespace cudnn_tensor

CudnnGraph cudnn_attention(const Cudnn& library, const CudnnAttentionShape& shape);
CudnnGraph cudnn_attention_backward(const Cudnn& library, const CudnnAttentionShape& shape);

}  // namespace collie::cuda
