// Causal attention over sequences whose tokens are spread over the ranks of a context group (Liu et al.,
// arXiv 2310.01889): keys and values go once around the ring, and each rank merges what its queries see of
// them. While a rank computes with those of one rank, the next rank's are on their way.
#pragma once

#include "models/context_slice.hpp"
#include "models/linear.hpp"

namespace collie {

// q, out [own tokens, heads, head_dim], key_values [own tokens, 2 kv_heads head_dim]: keys, then values; all
// may be row-strided. log_sum_exp [own tokens, heads], over all keys of the queries' documents. `scores` is
// for the slice's own pieces of documents. All ranks of context.context call this together; two operations of
// its queue are in flight at most.
void ring_attention(LayerContext& context, const ContextSlice& slice, const Tensor& q,
                    const Tensor& key_values, const AttentionScores& scores, Tensor& out,
                    Tensor& log_sum_exp);

// Overwrites dq and d_key_values, of the shapes of q and key_values: those of all queries of the group.
void ring_attention_backward(LayerContext& context, const ContextSlice& slice, const Tensor& q,
                             const Tensor& key_values, const AttentionScores& scores, const Tensor& out,
                             const Tensor& log_sum_exp, const Tensor& d_out, Tensor& dq,
                             Tensor& d_key_values);

}  // namespace collie
