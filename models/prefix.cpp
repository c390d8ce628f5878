#include "models/prefix.hpp"

#include <array>

#include "models/access.hpp"

namespace collie {
namespace {

// The numbers of the prefix's keys, for dropout: those of a document follow.
constexpr std::array<uint64_t, 1> first_number = {0};

AttentionScores of_prefix(const AttentionScores& scores) {
  AttentionScores own = scores;
  if (own.dropout > 0) own.first_keys = first_number;
  return own;
}

}  // namespace

Tensor Prefix::part(const Tensor& rows, int64_t which) const {
  return rows.rows(which * ids_.tokens, (which + 1) * ids_.tokens)
      .reshape({ids_.tokens, rows.dim(1) / head_dim_, head_dim_});
}

// All queries, whatever document they are of, see all keys, and keys of their own.
AttentionSpans Prefix::spans(const Tensor& q) const {
  AttentionSpans all{{0, static_cast<int32_t>(q.dim(0))}, {0, static_cast<int32_t>(ids_.tokens)}, false};
  all.more_keys = {true};
  return all;
}

void Prefix::attend(LayerContext& context, const Tensor& q, const AttentionScores& scores, Tensor& out,
                    Tensor& log_sum_exp) const {
  if (q.dim(0) == 0) return;
  Operations& operations = context.operations;
  const AcquiredWeight rows(context, ids_.id);
  Tensor seen = operations.empty(q.shape(), Category::workspace);
  Tensor of_seen =
      operations.empty(log_sum_exp.shape(), operations.accumulation_dtype(), Category::workspace);
  operations.attention(q, part(*rows, 0), part(*rows, 1), spans(q), of_prefix(scores), seen, of_seen);
  operations.merge_attention(out, log_sum_exp, seen, of_seen);
}

Tensor Prefix::attend_backward(LayerContext& context, const Tensor& q, const AttentionScores& scores,
                               const Tensor& out, const Tensor& log_sum_exp, const Tensor& d_out,
                               Tensor& dq) const {
  Operations& operations = context.operations;
  const AcquiredWeight rows(context, ids_.id);
  Tensor gradient = operations.empty((*rows).shape(), Category::activations);
  if (q.dim(0) == 0) {
    operations.fill(gradient, 0);
    return gradient;
  }
  Tensor share = operations.empty(q.shape(), Category::workspace);
  Tensor dk = part(gradient, 0), dv = part(gradient, 1);
  operations.attention_backward(q, part(*rows, 0), part(*rows, 1), spans(q), of_prefix(scores), out,
                                log_sum_exp, d_out, share, dk, dv);
  operations.add(dq, share, dq);
  return gradient;
}

void Prefix::backward_weight(LayerContext& context, const Tensor& gradient) const {
  contribute_tensor(context, ids_.id, gradient);
}

void Prefix::fill(LayerContext& context, const Tensor& cache) const {
  const AcquiredWeight rows(context, ids_.id);
  const int64_t v = ids_.tokens, width = cache.dim(1) / 2;
  for (int64_t which = 0; which < 2; ++which) {
    Tensor place = cache.rows(0, v).columns(which * width, (which + 1) * width);
    context.operations.copy((*rows).rows(which * v, (which + 1) * v), place);
  }
}

}  // namespace collie
