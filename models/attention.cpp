#include "models/attention.hpp"

#include <cmath>

namespace collie {

Attention::Attention(const ModelConfig& config, const BlockIds& ids, const RotaryTables& tables)
    : q_(make_dense_linear(ids.q.weight, ids.q.bias)),
      k_(make_dense_linear(ids.k.weight, ids.k.bias)),
      v_(make_dense_linear(ids.v.weight, ids.v.bias)),
      o_(make_dense_linear(ids.o.weight, ids.o.bias)),
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

void Attention::project(LayerContext& context, const TokenLayout& layout, const Tensor& x,
                        Tensor& qkv) const {
  Tensor q = q_of(qkv), k = k_of(qkv), v = v_of(qkv);
  q_->forward(context, x, q);
  k_->forward(context, x, k);
  v_->forward(context, x, v);
  rotate(context, layout, qkv, false);
}

void Attention::forward(LayerContext& context, const TokenLayout& layout, const Tensor& x, Tensor& y,
                        AttentionStash* stash) const {
  Operations& operations = context.operations;
  const Category category = stash ? Category::activations : Category::workspace;
  const int64_t tokens = x.dim(0);
  Tensor qkv = operations.empty({tokens, q_width_ + 2 * kv_width_}, category);
  project(context, layout, x, qkv);
  Tensor attended = operations.empty({tokens, q_width_}, category);
  Tensor log_sum_exp = operations.empty({tokens, q_width_ / head_dim_}, category);
  Tensor attended_heads = heads_of(attended);
  operations.attention(heads_of(q_of(qkv)), heads_of(k_of(qkv)), heads_of(v_of(qkv)), layout.spans,
                       score_scale_, attended_heads, log_sum_exp);
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
  {
    const Tensor& qkv = stash.qkv;
    Tensor dq = heads_of(q_of(stash.d_qkv)), dk = heads_of(k_of(stash.d_qkv)),
           dv = heads_of(v_of(stash.d_qkv));
    operations.attention_backward(heads_of(q_of(qkv)), heads_of(k_of(qkv)), heads_of(v_of(qkv)), layout.spans,
                                  score_scale_, heads_of(stash.attended), stash.log_sum_exp,
                                  heads_of(d_attended), dq, dk, dv);
  }
  d_attended = stash.qkv = stash.log_sum_exp = Tensor();
  rotate(context, layout, stash.d_qkv, true);
  q_->backward_input(context, q_of(stash.d_qkv), dx, false);
  k_->backward_input(context, k_of(stash.d_qkv), dx, true);
  v_->backward_input(context, v_of(stash.d_qkv), dx, true);
}

void Attention::backward_weight(LayerContext& context, const Tensor& x, const Tensor& dy,
                                AttentionStash& stash) const {
  o_->backward_weight(context, stash.attended, dy);
  stash.attended = Tensor();
  v_->backward_weight(context, x, v_of(stash.d_qkv));
  k_->backward_weight(context, x, k_of(stash.d_qkv));
  q_->backward_weight(context, x, q_of(stash.d_qkv));
  stash = AttentionStash();
}

void Attention::decode(LayerContext& context, const TokenLayout& layout, const Tensor& x, Tensor& y,
                       Tensor& cache, int64_t cached) const {
  Operations& operations = context.operations;
  const int64_t tokens = x.dim(0), keys = cached + tokens;
  Tensor qkv = operations.empty({tokens, q_width_ + 2 * kv_width_}, Category::workspace);
  project(context, layout, x, qkv);
  Tensor appended = cache.rows(cached, keys);
  operations.copy(qkv.columns(q_width_, q_width_ + 2 * kv_width_), appended);
  const Tensor held = cache.rows(0, keys);
  Tensor attended = operations.empty({tokens, q_width_}, Category::workspace);
  Tensor log_sum_exp = operations.empty({tokens, q_width_ / head_dim_}, Category::workspace);
  Tensor attended_heads = heads_of(attended);
  operations.attention(heads_of(q_of(qkv)), heads_of(held.columns(0, kv_width_)),
                       heads_of(held.columns(kv_width_, 2 * kv_width_)), layout.spans, score_scale_,
                       attended_heads, log_sum_exp);
  o_->forward(context, attended, y);
}

}  // namespace collie
