#include "models/attention.hpp"

#include <cmath>

#include "models/ring_attention.hpp"
#include "models/tensor_parallel.hpp"

namespace collie {

Attention::Attention(const ModelConfig& config, const BlockIds& ids, const RotaryTables& tables)
    : q_(make_dense_linear(ids.q.weight, ids.q.bias)),
      k_(make_dense_linear(ids.k.weight, ids.k.bias)),
      v_(make_dense_linear(ids.v.weight, ids.v.bias)),
      o_(make_row_parallel_linear(make_dense_linear(ids.o.weight), ids.o.bias)),
      tables_(tables),
      head_dim_(config.head_dim),
      q_width_(config.num_attention_heads * config.head_dim),
      kv_width_(config.num_key_value_heads * config.head_dim),
      score_scale_(1.0 / std::sqrt(static_cast<double>(config.head_dim))) {}

void Attention::rotate(LayerContext& context, const TokenLayout& layout, Tensor& qkv, bool inverse) const {
  Tensor q = heads_of(q_of(qkv)), k = heads_of(k_of(qkv));
  context.operations.rope(q, tables_.cosines, tables_.sines, layout.positions, inverse);
  context.operations.rope(k, tables_.cosines, tables_.sines, layout.positions, inverse);
}

Tensor Attention::project(LayerContext& context, const TokenLayout& layout, const Tensor& x,
                          Category category) const {
  const Tensor inside = gather_from_sequence_region(context, x);
  Tensor qkv = context.operations.empty({inside.dim(0), q_width_ + 2 * kv_width_}, category);
  Tensor q = q_of(qkv), k = k_of(qkv), v = v_of(qkv);
  q_->forward(context, inside, q);
  k_->forward(context, inside, k);
  v_->forward(context, inside, v);
  rotate(context, layout, qkv, false);
  return qkv;
}

void Attention::attend(LayerContext& context, const TokenLayout& layout, const Tensor& qkv, Tensor& attended,
                       Tensor& log_sum_exp) const {
  const Tensor q = heads_of(q_of(qkv));
  Tensor out = heads_of(attended);
  if (layout.slice != nullptr)
    return ring_attention(context, *layout.slice, q, key_values_of(qkv), score_scale_, out, log_sum_exp);
  context.operations.attention(q, heads_of(k_of(qkv)), heads_of(v_of(qkv)), layout.spans, score_scale_, out,
                               log_sum_exp);
}

void Attention::attend_backward(LayerContext& context, const TokenLayout& layout, const AttentionStash& stash,
                                const Tensor& d_attended, Tensor& d_qkv) const {
  const Tensor q = heads_of(q_of(stash.qkv)), out = heads_of(stash.attended), d_out = heads_of(d_attended);
  Tensor dq = heads_of(q_of(d_qkv));
  if (layout.slice != nullptr) {
    Tensor d_key_values = key_values_of(d_qkv);
    return ring_attention_backward(context, *layout.slice, q, key_values_of(stash.qkv), score_scale_, out,
                                   stash.log_sum_exp, d_out, dq, d_key_values);
  }
  Tensor dk = heads_of(k_of(d_qkv)), dv = heads_of(v_of(d_qkv));
  context.operations.attention_backward(q, heads_of(k_of(stash.qkv)), heads_of(v_of(stash.qkv)), layout.spans,
                                        score_scale_, out, stash.log_sum_exp, d_out, dq, dk, dv);
}

void Attention::forward(LayerContext& context, const TokenLayout& layout, const Tensor& x, Tensor& y,
                        AttentionStash* stash) const {
  Operations& operations = context.operations;
  const Category category = stash ? Category::activations : Category::workspace;
  Tensor qkv = project(context, layout, x, category);
  const int64_t tokens = qkv.dim(0);
  Tensor attended = operations.empty({tokens, q_width_}, category);
  Tensor log_sum_exp =
      operations.empty({tokens, q_width_ / head_dim_}, operations.accumulation_dtype(), category);
  attend(context, layout, qkv, attended, log_sum_exp);
  if (stash) {
    stash->qkv = std::move(qkv);
    stash->log_sum_exp = std::move(log_sum_exp);
    stash->attended = attended;
  }
  qkv = log_sum_exp = Tensor();
  o_->forward(context, attended, y);
}

void Attention::backward_input(LayerContext& context, const TokenLayout& layout, const Tensor& dy, Tensor& dx,
                               AttentionStash& stash) const {
  Operations& operations = context.operations;
  Tensor d_attended = operations.empty(stash.attended.shape(), Category::workspace);
  o_->backward_input(context, dy, d_attended, false);
  stash.d_qkv = operations.empty(stash.qkv.shape(), Category::activations);
  attend_backward(context, layout, stash, d_attended, stash.d_qkv);
  d_attended = stash.qkv = stash.log_sum_exp = Tensor();
  rotate(context, layout, stash.d_qkv, true);
  Tensor partial = partial_sums(context, dx, stash.d_qkv.dim(0));
  q_->backward_input(context, q_of(stash.d_qkv), partial, false);
  k_->backward_input(context, k_of(stash.d_qkv), partial, true);
  v_->backward_input(context, v_of(stash.d_qkv), partial, true);
  reduce_scatter_to_sequence_region(context, partial, dx);
}

void Attention::backward_weight(LayerContext& context, const Tensor& x, const Tensor& dy,
                                AttentionStash& stash) const {
  o_->backward_weight(context, stash.attended, dy);
  stash.attended = Tensor();
  const Tensor inside = gather_from_sequence_region(context, x);  // again: the stash keeps its share only
  v_->backward_weight(context, inside, v_of(stash.d_qkv));
  k_->backward_weight(context, inside, k_of(stash.d_qkv));
  q_->backward_weight(context, inside, q_of(stash.d_qkv));
  stash = AttentionStash();
}

void Attention::decode(LayerContext& context, const TokenLayout& layout, const Tensor& x, Tensor& y,
                       Tensor& cache, int64_t cached) const {
  Operations& operations = context.operations;
  const int64_t tokens = x.dim(0), keys = cached + tokens;
  const Tensor qkv = project(context, layout, x, Category::workspace);
  Tensor appended = cache.rows(cached, keys);
  operations.copy(key_values_of(qkv), appended);
  const Tensor held = cache.rows(0, keys);
  Tensor attended = operations.empty({tokens, q_width_}, Category::workspace);
  Tensor log_sum_exp =
      operations.empty({tokens, q_width_ / head_dim_}, operations.accumulation_dtype(), Category::workspace);
  Tensor attended_heads = heads_of(attended);
  operations.attention(heads_of(q_of(qkv)), heads_of(held.columns(0, kv_width_)),
                       heads_of(held.columns(kv_width_, 2 * kv_width_)), layout.spans, score_scale_,
                       attended_heads, log_sum_exp);
  o_->forward(context, attended, y);
}

}  // namespace collie
