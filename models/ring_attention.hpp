// Causal attention over sequences whose tokens are spread over the ranks of a context group (Liu et al.,
// arXiv 2310.01889): keys and values go once around the ring, and each rank merges what its queries see of
// them. While a rank computes with those of one rank, the next rank's are on their way. Only those travel
// that queries of other ranks see: with a window that is the end of a chunk.
#pragma once

#include "models/context_slice.hpp"
#include "models/linear.hpp"

namespace collie {

// q, out [own tokens, heads, head_dim], key_values [own tokens, 2 kv_heads head_dim]: keys, then values; all
// may be row-strided. log_sum_exp [own tokens, heads], over all keys that the queries see. `scores` is for
// the slice's own pieces of documents. `window` is the most keys a query sees, its own included; 0: no limit.
// All ranks of context.context call this together; two operations of its queue are in flight at most.
void ring_attention(LayerContext& context, const ContextSlice& slice, const Tensor& q,
                    const Tensor& key_values, const AttentionScores& scores, int64_t window, Tensor& out,
                    Tensor& log_sum_exp);

// Overwrites dq and d_key_values, of the shapes of q and key_values: those of all queries of the group.
void ring_attention_backward(LayerContext& context, const ContextSlice& slice, const Tensor& q,
                             const Tensor& key_values, const AttentionScores& scores, int64_t window,
                             const Tensor& out, const Tensor& log_sum_exp, const Tensor& d_out, Tensor& dq,
                             Tensor& d_key_values);

}  // namespace collie
