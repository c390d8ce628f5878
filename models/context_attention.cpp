#include "models/context_attention.hpp"

namespace collie {
namespace {

std::vector<int32_t> one_run(int64_t tokens) {
  return {0, static_cast<int32_t>(tokens)};
}

// Behind the context: the last query stands at the last key.
AttentionPart causal_part(const TokenRange& queries, const TokenRange& keys) {
  return {queries, keys, {one_run(queries.size()), one_run(keys.size())}};
}

AttentionPart part_of_context(const TokenRange& queries, const TokenRange& keys) {
  return {queries, keys, {one_run(queries.size()), one_run(keys.size()), false}};
}

// Documents without a context of more than one token, one after another: they are causal in one go.
class PlainRun {
 public:
  void add(size_t document, int32_t begin, int32_t end) {
    if (starts_.empty()) {
      starts_ = {begin};
      first_ = document;
    }
    starts_.push_back(end);
  }

  void flush(std::vector<AttentionPart>& parts) {
    if (starts_.empty()) return;
    const TokenRange rows{starts_.front(), starts_.back()};
    for (int32_t& start : starts_) start -= static_cast<int32_t>(rows.begin);
    parts.push_back({rows, rows, {starts_, starts_}, first_});
    starts_.clear();
  }

 private:
  std::vector<int32_t> starts_;
  size_t first_ = 0;
};

Tensor rows_in(const Tensor& x, const TokenRange& range) {
  return x.rows(range.begin, range.end);
}

AttentionScores scores_of(const AttentionPart& part, const AttentionScores& whole) {
  AttentionScores scores = whole;
  if (scores.dropout == 0) return scores;
  scores.query_rows = whole.query_rows.subspan(static_cast<size_t>(part.queries.begin),
                                               static_cast<size_t>(part.queries.size()));
  scores.first_keys = whole.first_keys.subspan(part.document, part.spans.key_starts.size() - 1);
  return scores;
}

// to += x; the rows of `to` may lie apart, and then add() does not take them.
void add_to(Operations& operations, const Tensor& x, Tensor to) {
  Tensor sum = operations.empty(x.shape(), Category::workspace);
  operations.copy(to, sum);
  operations.add(sum, x, sum);
  operations.copy(sum, to);
}

}  // namespace

std::vector<AttentionPart> parts_of_documents(std::span<const int32_t> starts,
                                              std::span<const int32_t> contexts, bool more_keys) {
  COLLIE_ASSERT(starts.size() == contexts.size() + 1, "{} contexts for {} documents", contexts.size(),
                starts.size() - 1);
  std::vector<AttentionPart> parts;
  PlainRun plain;
  for (size_t i = 0; i < contexts.size(); ++i) {
    const TokenRange all{starts[i], starts[i + 1]};
    if (contexts[i] <= 1) {
      plain.add(i, starts[i], starts[i + 1]);
      continue;
    }
    COLLIE_ASSERT(contexts[i] < all.size(), "a context of {} of a document's {} tokens", contexts[i],
                  all.size());
    plain.flush(parts);
    const TokenRange context{all.begin, all.begin + contexts[i]};
    parts.push_back(causal_part({context.end, all.end}, all));
    parts.push_back(part_of_context(context, context));
    parts.back().adds = true;
    parts.back().document = parts[parts.size() - 2].document = i;
  }
  plain.flush(parts);
  if (more_keys)
    for (AttentionPart& part : parts) part.spans.more_keys.assign(part.spans.key_starts.size() - 1, true);
  return parts;
}

std::vector<AttentionPart> parts_of_prompt(int64_t context, int64_t tokens, int64_t before) {
  if (context <= 1) return {causal_part({0, tokens}, {0, before + tokens})};
  std::vector<AttentionPart> parts = {part_of_context({0, context}, {0, before + context})};
  if (context < tokens) parts.push_back(causal_part({context, tokens}, {0, before + tokens}));
  return parts;
}

void attention_by_parts(Operations& operations, const std::vector<AttentionPart>& parts, const Tensor& q,
                        const Tensor& k, const Tensor& v, const AttentionScores& scores, Tensor& out,
                        Tensor& log_sum_exp) {
  for (const AttentionPart& part : parts) {
    Tensor own = rows_in(out, part.queries), own_log_sum_exp = rows_in(log_sum_exp, part.queries);
    operations.attention(rows_in(q, part.queries), rows_in(k, part.keys), rows_in(v, part.keys), part.spans,
                         scores_of(part, scores), own, own_log_sum_exp);
  }
}

void attention_by_parts_backward(Operations& operations, const std::vector<AttentionPart>& parts,
                                 const Tensor& q, const Tensor& k, const Tensor& v,
                                 const AttentionScores& scores, const Tensor& out, const Tensor& log_sum_exp,
                                 const Tensor& d_out, Tensor& dq, Tensor& dk, Tensor& dv) {
  for (const AttentionPart& part : parts) {
    Tensor own_dq = rows_in(dq, part.queries), own_dk = rows_in(dk, part.keys),
           own_dv = rows_in(dv, part.keys);
    Tensor to_dk = own_dk, to_dv = own_dv;
    if (part.adds) {
      to_dk = operations.empty(own_dk.shape(), Category::workspace);
      to_dv = operations.empty(own_dv.shape(), Category::workspace);
    }
    operations.attention_backward(rows_in(q, part.queries), rows_in(k, part.keys), rows_in(v, part.keys),
                                  part.spans, scores_of(part, scores), rows_in(out, part.queries),
                                  rows_in(log_sum_exp, part.queries), rows_in(d_out, part.queries), own_dq,
                                  to_dk, to_dv);
    if (!part.adds) continue;
    add_to(operations, to_dk, own_dk);
    add_to(operations, to_dv, own_dv);
  }
}

}  // namespace collie
