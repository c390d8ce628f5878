#include "models/attention.hpp"

#include <cmath>

#include "models/dropout.hpp"
#include "models/ring_attention.hpp"
#include "models/tensor_parallel.hpp"

namespace collie {

namespace {

std::unique_ptr<Linear> make_qkv(const ModelConfig& config, const BlockIds& ids,
                                 const LinearFactory& linears) {
  if (ids.qkv.exists()) return linears(ids.qkv);
  const int64_t q_width = config.num_attention_heads * config.head_dim,
                kv_width = config.num_key_value_heads * config.head_dim;
  std::vector<std::unique_ptr<Linear>> parts;
  for (const MatrixIds& matrix : {ids.q, ids.k, ids.v}) parts.push_back(linears(matrix));
  return make_split_linear(std::move(parts), {q_width, kv_width, kv_width});
}

}  // namespace

void AttentionStash::append_kept_to(std::vector<Tensor*>& all) {
  for (Tensor* tensor : {&qkv, &log_sum_exp, &attended}) all.push_back(tensor);
  for (HeadNormStash* norm : {&of_q_norm, &of_k_norm})
    for (Tensor* tensor : {&norm->input, &norm->statistics}) all.push_back(tensor);
  of_qkv.append_to(all);
  of_o.append_to(all);
}

Attention::Attention(const ModelConfig& config, int64_t block, const BlockIds& ids,
                     const RotaryTables& tables, const LinearFactory& linears)
    : qkv_(make_qkv(config, ids, linears)),
      o_(make_row_parallel_linear(linears(ids.o.without_bias()), ids.o.bias)),
      tables_(tables),
      pairs_(config.rotary_pairs),
      head_dim_(config.head_dim),
      q_width_(config.num_attention_heads * config.head_dim),
      kv_width_(config.num_key_value_heads * config.head_dim),
      window_(config.block(block).window),
      score_scale_(config.block(block).score_scale),
      soft_cap_(config.block(block).soft_cap),
      dropout_(config.dropout.attention),
      place_(fmt::format("block {}/weights", block)) {
  if (score_scale_ == 0) score_scale_ = 1.0 / std::sqrt(static_cast<double>(config.head_dim));
  COLLIE_ASSERT(!config.blanks.exist() || window_ == 0, "block {} has contexts and a window of {}", block,
                window_);
  if (ids.prefix.exists()) {
    COLLIE_ASSERT(window_ == 0, "block {} has a prefix and a window of {}", block, window_);
    prefix_.emplace(ids.prefix, head_dim_, config.num_hidden_layers);
  }
  if (!config.query_key_norm) return;
  const NormSettings of_heads{NormKind::rms, config.norm.eps, config.norm.weight_offset};
  q_norm_.emplace(ids.q_norm, of_heads);
  k_norm_.emplace(ids.k_norm, of_heads);
}

AttentionScores Attention::plain_scores() const {
  AttentionScores scores(score_scale_);
  scores.soft_cap = soft_cap_;
  return scores;
}

AttentionScores Attention::scores(const LayerContext& context, const TokenLayout& layout,
                                  std::vector<uint64_t>& first_keys) const {
  AttentionScores scores = plain_scores();
  if (!context.dropout || dropout_ == 0) return scores;
  scores.dropout = dropout_;
  scores.dropout_key = dropout_key(*context.dropout, place_);
  scores.query_rows = layout.rows;
  const std::vector<int32_t>& starts = layout.spans.key_starts;
  for (size_t i = 0; i + 1 < starts.size(); ++i)
    first_keys.push_back(starts[i] == starts[i + 1]
                             ? 0
                             : static_cast<uint64_t>(layout.positions[static_cast<size_t>(starts[i])]));
  scores.first_keys = first_keys;
  if (context.tensor != nullptr) scores.first_head = context.tensor->rank() * (q_width_ / head_dim_);
  return scores;
}

std::vector<AttentionPart> Attention::own_parts(const TokenLayout& layout) const {
  return parts_of_documents(layout.spans.key_starts, layout.contexts, prefix_.has_value());
}

AttentionSpans Attention::own_spans(const TokenLayout& layout) const {
  AttentionSpans spans = layout.spans;
  spans.window = window_;
  if (prefix_) spans.more_keys.assign(spans.key_starts.size() - 1, true);
  return spans;
}

void Attention::rotate(LayerContext& context, const TokenLayout& layout, Tensor& qkv, bool inverse) const {
  if (!tables_.cosines.defined()) return;
  Tensor q = heads_of(q_of(qkv)), k = heads_of(k_of(qkv));
  const std::span<const int32_t> angles = layout.angles.empty() ? layout.positions : layout.angles;
  context.operations.rope(q, tables_.cosines, tables_.sines, angles, inverse, pairs_);
  context.operations.rope(k, tables_.cosines, tables_.sines, angles, inverse, pairs_);
  if (layout.second_angles.empty()) return;
  // A head's second half is the first half of one that begins half a head later. Of the last key head this
  // one reaches into the values, which stay as they are.
  const int64_t half = head_dim_ / 2;
  Tensor q_halves = heads_of(qkv.columns(half, half + q_width_)),
         k_halves = heads_of(qkv.columns(half + q_width_, half + q_width_ + kv_width_));
  context.operations.rope(q_halves, tables_.cosines, tables_.sines, layout.second_angles, inverse, pairs_);
  context.operations.rope(k_halves, tables_.cosines, tables_.sines, layout.second_angles, inverse, pairs_);
}

// Heads lie in rows with others between them, and the norm reads rows of their own.
void Attention::normalise_heads(LayerContext& context, const Norm& norm, Tensor heads,
                                HeadNormStash* stash) const {
  Operations& operations = context.operations;
  const Category category = stash ? Category::activations : Category::workspace;
  const Shape packed = heads.shape(), rows{heads.numel() / head_dim_, head_dim_};
  Tensor input = operations.empty(packed, category);
  operations.copy(heads, input);
  Tensor output = operations.empty(rows, Category::workspace);
  Tensor statistics = norm.empty_statistics(operations, rows[0], category);
  ResidualStream stream{input.reshape(rows), {}};
  norm.forward(context, stream, output, statistics);
  operations.copy(output.reshape(packed), heads);
  if (stash) *stash = {stream.x, std::move(statistics), {}};
}

void Attention::normalise_heads_backward(LayerContext& context, const Norm& norm, Tensor d_heads,
                                         HeadNormStash& stash) const {
  Operations& operations = context.operations;
  const Shape packed = d_heads.shape(), rows = stash.input.shape();
  Tensor d_output = operations.empty(packed, Category::activations);
  operations.copy(d_heads, d_output);
  stash.d_output = d_output.reshape(rows);
  Tensor d_input = operations.empty(rows, Category::workspace);
  norm.backward_input(context, stash.d_output, stash.input, stash.statistics, {}, d_input);
  operations.copy(d_input.reshape(packed), d_heads);
}

Tensor Attention::project(LayerContext& context, const TokenLayout& layout, const Tensor& x,
                          AttentionStash* stash) const {
  const Category category = stash ? Category::activations : Category::workspace;
  const Tensor inside = gather_from_sequence_region(context, x);
  Tensor qkv = context.operations.empty({inside.dim(0), q_width_ + 2 * kv_width_}, category);
  qkv_->forward(context, inside, qkv, stash ? &stash->of_qkv : nullptr);
  if (q_norm_) normalise_heads(context, *q_norm_, q_of(qkv), stash ? &stash->of_q_norm : nullptr);
  if (k_norm_) normalise_heads(context, *k_norm_, k_of(qkv), stash ? &stash->of_k_norm : nullptr);
  rotate(context, layout, qkv, false);
  return qkv;
}

void Attention::attend(LayerContext& context, const TokenLayout& layout, const Tensor& qkv, Tensor& attended,
                       Tensor& log_sum_exp) const {
  const Tensor q = heads_of(q_of(qkv));
  Tensor out = heads_of(attended);
  std::vector<uint64_t> first_keys;
  const AttentionScores of_layout = scores(context, layout, first_keys);
  if (layout.slice != nullptr)
    ring_attention(context, *layout.slice, q, key_values_of(qkv), of_layout, window_, out, log_sum_exp);
  else if (!layout.contexts.empty())
    attention_by_parts(context.operations, own_parts(layout), q, heads_of(k_of(qkv)), heads_of(v_of(qkv)),
                       of_layout, out, log_sum_exp);
  else
    context.operations.attention(q, heads_of(k_of(qkv)), heads_of(v_of(qkv)), own_spans(layout), of_layout,
                                 out, log_sum_exp);
  if (prefix_) prefix_->attend(context, q, of_layout, out, log_sum_exp);
}

void Attention::attend_backward(LayerContext& context, const TokenLayout& layout, AttentionStash& stash,
                                const Tensor& d_attended, Tensor& d_qkv) const {
  std::vector<uint64_t> first_keys;
  const AttentionScores of_layout = scores(context, layout, first_keys);
  attend_backward_to_own(context, layout, stash, of_layout, d_attended, d_qkv);
  if (!prefix_) return;
  Tensor dq = heads_of(q_of(d_qkv));
  stash.d_prefix =
      prefix_->attend_backward(context, heads_of(q_of(stash.qkv)), of_layout, heads_of(stash.attended),
                               stash.log_sum_exp, heads_of(d_attended), dq);
}

void Attention::attend_backward_to_own(LayerContext& context, const TokenLayout& layout,
                                       const AttentionStash& stash, const AttentionScores& of_layout,
                                       const Tensor& d_attended, Tensor& d_qkv) const {
  const Tensor q = heads_of(q_of(stash.qkv)), out = heads_of(stash.attended), d_out = heads_of(d_attended);
  Tensor dq = heads_of(q_of(d_qkv));
  if (layout.slice != nullptr) {
    Tensor d_key_values = key_values_of(d_qkv);
    return ring_attention_backward(context, *layout.slice, q, key_values_of(stash.qkv), of_layout, window_,
                                   out, stash.log_sum_exp, d_out, dq, d_key_values);
  }
  Tensor dk = heads_of(k_of(d_qkv)), dv = heads_of(v_of(d_qkv));
  if (!layout.contexts.empty())
    return attention_by_parts_backward(context.operations, own_parts(layout), q, heads_of(k_of(stash.qkv)),
                                       heads_of(v_of(stash.qkv)), of_layout, out, stash.log_sum_exp, d_out,
                                       dq, dk, dv);
  context.operations.attention_backward(q, heads_of(k_of(stash.qkv)), heads_of(v_of(stash.qkv)),
                                        own_spans(layout), of_layout, out, stash.log_sum_exp, d_out, dq, dk,
                                        dv);
}

Tensor Attention::attended_values(LayerContext& context, const TokenLayout& layout, const Tensor& x,
                                  AttentionStash* stash) const {
  Operations& operations = context.operations;
  const Category category = stash ? Category::activations : Category::workspace;
  Tensor qkv = project(context, layout, x, stash);
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
  return attended;
}

void Attention::forward(LayerContext& context, const TokenLayout& layout, const Tensor& x, Tensor& y,
                        AttentionStash* stash) const {
  o_->forward(context, attended_values(context, layout, x, stash), y, stash ? &stash->of_o : nullptr);
}

void Attention::keep(LayerContext& context, const TokenLayout& layout, const Tensor& x,
                     AttentionStash& stash) const {
  o_->keep(context, attended_values(context, layout, x, &stash), stash.of_o);
}

void Attention::backward_input(LayerContext& context, const TokenLayout& layout, const Tensor& dy, Tensor& dx,
                               AttentionStash& stash) const {
  Operations& operations = context.operations;
  Tensor d_attended = operations.empty(stash.attended.shape(), Category::workspace);
  o_->backward_input(context, dy, d_attended, false, stash.of_o);
  stash.d_qkv = operations.empty(stash.qkv.shape(), Category::activations);
  attend_backward(context, layout, stash, d_attended, stash.d_qkv);
  d_attended = stash.qkv = stash.log_sum_exp = Tensor();
  rotate(context, layout, stash.d_qkv, true);
  if (q_norm_) normalise_heads_backward(context, *q_norm_, q_of(stash.d_qkv), stash.of_q_norm);
  if (k_norm_) normalise_heads_backward(context, *k_norm_, k_of(stash.d_qkv), stash.of_k_norm);
  if (!dx.defined()) return qkv_->skip_input(context, stash.d_qkv, stash.of_qkv);
  Tensor partial = partial_sums(context, dx, stash.d_qkv.dim(0));
  qkv_->backward_input(context, stash.d_qkv, partial, false, stash.of_qkv);
  reduce_scatter_to_sequence_region(context, partial, dx);
}

void Attention::backward_weight(LayerContext& context, const Tensor& x, const Tensor& dy,
                                AttentionStash& stash) const {
  o_->backward_weight(context, stash.attended, dy, stash.of_o);
  stash.attended = Tensor();
  if (k_norm_)
    k_norm_->backward_weight(context, stash.of_k_norm.d_output, stash.of_k_norm.input,
                             stash.of_k_norm.statistics);
  if (q_norm_)
    q_norm_->backward_weight(context, stash.of_q_norm.d_output, stash.of_q_norm.input,
                             stash.of_q_norm.statistics);
  const Tensor inside = gather_from_sequence_region(context, x);  // again: the stash keeps its share only
  qkv_->backward_weight(context, inside, stash.d_qkv, stash.of_qkv);
  if (prefix_) prefix_->backward_weight(context, stash.d_prefix);
  stash = AttentionStash();
}

void Attention::decode(LayerContext& context, const TokenLayout& layout, const Tensor& x, Tensor& y,
                       std::span<DecodedSequence> sequences) const {
  const Tensor qkv = project(context, layout, x, nullptr);
  Tensor attended = context.operations.empty({x.dim(0), q_width_}, Category::workspace);
  for (DecodedSequence& sequence : sequences) {
    const auto [begin, end] = sequence.rows;
    Tensor own = attended.rows(begin, end);
    decode_sequence(context, qkv.rows(begin, end), sequence, own);
  }
  o_->forward(context, attended, y, nullptr);
}

// qkv, attended: of the sequence's tokens.
void Attention::decode_sequence(LayerContext& context, const Tensor& qkv, DecodedSequence& sequence,
                                Tensor& attended) const {
  Operations& operations = context.operations;
  const int64_t held_before = sequence.cached + (prefix_ ? prefix_->tokens() : 0);
  const int64_t tokens = qkv.dim(0), keys = held_before + tokens;
  if (prefix_ && sequence.cached == 0) prefix_->fill(context, sequence.cache);
  Tensor appended = sequence.cache.rows(held_before, keys);
  operations.copy(key_values_of(qkv), appended);
  const Tensor held = sequence.cache.rows(0, keys);
  Tensor log_sum_exp =
      operations.empty({tokens, q_width_ / head_dim_}, operations.accumulation_dtype(), Category::workspace);
  Tensor attended_heads = heads_of(attended);
  if (sequence.context > 0)
    return attention_by_parts(operations, parts_of_prompt(sequence.context, tokens, held_before),
                              heads_of(q_of(qkv)), heads_of(held.columns(0, kv_width_)),
                              heads_of(held.columns(kv_width_, 2 * kv_width_)), plain_scores(),
                              attended_heads, log_sum_exp);
  AttentionSpans spans{{0, static_cast<int32_t>(tokens)}, {0, static_cast<int32_t>(keys)}};
  spans.window = window_;
  operations.attention(heads_of(q_of(qkv)), heads_of(held.columns(0, kv_width_)),
                       heads_of(held.columns(kv_width_, 2 * kv_width_)), spans, plain_scores(),
                       attended_heads, log_sum_exp);
}

}  // namespace collie
