// Keys and values that are parameters of a block, and that every token sees beside those of its document
// (prefix tuning: Li & Liang, arXiv 2101.00190). They have no positions, and stand before all documents.
#pragma once

#include "models/linear.hpp"

namespace collie {

class Prefix {
 public:
  // The parameter is [2 v, kv_heads head_dim]: v keys, and their values below them. A rank has its own heads.
  // What an encoder gives is [v, blocks · 2 · kv_heads · head_dim] (LayerContext::prompt): a block's keys
  // beside its values.
  Prefix(const PrefixIds& ids, int64_t head_dim, int64_t blocks)
      : ids_(ids), head_dim_(head_dim), blocks_(blocks) {}

  int64_t tokens() const { return ids_.tokens; }

  // Merges what the queries see here into what they saw elsewhere. q, out [queries, heads, head_dim],
  // log_sum_exp [queries, heads]. Keys are numbered from 0 for dropout.
  void attend(LayerContext& context, const Tensor& q, const AttentionScores& scores, Tensor& out,
              Tensor& log_sum_exp) const;
  // dq += what comes through these keys. out and log_sum_exp are over all that the queries see. Returns the
  // parameter's gradient, a sum over the queries, for backward_weight(); or fills the block's columns of
  // LayerContext::d_prompt.
  Tensor attend_backward(LayerContext& context, const Tensor& q, const AttentionScores& scores,
                         const Tensor& out, const Tensor& log_sum_exp, const Tensor& d_out, Tensor& dq) const;
  void backward_weight(LayerContext& context, const Tensor& gradient) const;

  // Fills the first v rows of a sequence's cache [capacity, 2 kv_heads head_dim].
  void fill(LayerContext& context, const Tensor& cache) const;

 private:
  // [v, kv_heads · head_dim], both of the same tensor.
  struct Rows {
    Tensor keys, values;
  };
  Rows rows_of(const Tensor& parameter) const;
  Rows columns_of(const Tensor& encoded) const;
  // Calls use(rows) with those of the parameter, or of what the encoder gave.
  template <class Use>
  void with_rows(LayerContext& context, const Use& use) const;
  Tensor heads_of(const Tensor& rows) const;
  AttentionSpans spans(const Tensor& q) const;

  PrefixIds ids_;
  int64_t head_dim_, blocks_;  // of the model
};

}  // namespace collie
