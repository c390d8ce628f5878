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

Prefix::Rows Prefix::rows_of(const Tensor& parameter) const {
  return {parameter.rows(0, ids_.tokens), parameter.rows(ids_.tokens, 2 * ids_.tokens)};
}

Prefix::Rows Prefix::columns_of(const Tensor& encoded) const {
  const int64_t width = encoded.dim(1) / (2 * blocks_), first = 2 * ids_.block * width;
  return {encoded.columns(first, first + width), encoded.columns(first + width, first + 2 * width)};
}

template <class Use>
void Prefix::with_rows(LayerContext& context, const Use& use) const {
  if (ids_.id == no_parameter) return use(columns_of(*context.prompt));
  const AcquiredWeight parameter(context, ids_.id);
  use(rows_of(*parameter));
}

Tensor Prefix::heads_of(const Tensor& rows) const {
  return rows.reshape({ids_.tokens, rows.dim(1) / head_dim_, head_dim_});
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
  Tensor seen = operations.empty(q.shape(), Category::workspace);
  Tensor of_seen =
      operations.empty(log_sum_exp.shape(), operations.accumulation_dtype(), Category::workspace);
  with_rows(context, [&](const Rows& rows) {
    operations.attention(q, heads_of(rows.keys), heads_of(rows.values), spans(q), of_prefix(scores), seen,
                         of_seen);
  });
  operations.merge_attention(out, log_sum_exp, seen, of_seen);
}

Tensor Prefix::attend_backward(LayerContext& context, const Tensor& q, const AttentionScores& scores,
                               const Tensor& out, const Tensor& log_sum_exp, const Tensor& d_out,
                               Tensor& dq) const {
  Operations& operations = context.operations;
  Tensor gradient;
  with_rows(context, [&](const Rows& rows) {
    if (ids_.id != no_parameter)
      gradient = operations.empty({2 * ids_.tokens, rows.keys.dim(1)}, Category::activations);
    Rows d_rows = ids_.id == no_parameter ? columns_of(*context.d_prompt) : rows_of(gradient);
    if (q.dim(0) == 0) {
      operations.fill(d_rows.keys, 0);
      return operations.fill(d_rows.values, 0);
    }
    Tensor share = operations.empty(q.shape(), Category::workspace);
    Tensor dk = heads_of(d_rows.keys), dv = heads_of(d_rows.values);
    operations.attention_backward(q, heads_of(rows.keys), heads_of(rows.values), spans(q), of_prefix(scores),
                                  out, log_sum_exp, d_out, share, dk, dv);
    operations.add(dq, share, dq);
  });
  return gradient;
}

void Prefix::backward_weight(LayerContext& context, const Tensor& gradient) const {
  if (ids_.id == no_parameter) return;
  contribute_tensor(context, ids_.id, gradient);
}

void Prefix::fill(LayerContext& context, const Tensor& cache) const {
  with_rows(context, [&](const Rows& rows) {
    const int64_t width = rows.keys.dim(1);
    Tensor keys = cache.rows(0, ids_.tokens).columns(0, width),
           values = cache.rows(0, ids_.tokens).columns(width, 2 * width);
    context.operations.copy(rows.keys, keys);
    context.operations.copy(rows.values, values);
  });
}

}  // namespace collie
