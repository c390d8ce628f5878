#include "models/ring_attention.hpp"

#include <utility>
#include <vector>

#include "comm/collective_queue.hpp"

namespace collie {
namespace {

// Keys and values side by side, each as [tokens, kv_heads, head_dim].
struct KeyValues {
  KeyValues(const Tensor& packed, int64_t head_dim)
      : keys(half(packed, 0, head_dim)), values(half(packed, 1, head_dim)) {}
  Tensor keys, values;

 private:
  static Tensor half(const Tensor& packed, int64_t which, int64_t head_dim) {
    const int64_t width = packed.dim(1) / 2;
    return packed.columns(which * width, (which + 1) * width)
        .reshape({packed.dim(0), width / head_dim, head_dim});
  }
};

AttentionSpans causal_spans(const ContextSlice& slice) {
  AttentionSpans spans{slice.own.document_starts, slice.own.document_starts};
  spans.more_keys = slice.goes_on;
  if (slice.first_position > 0) spans.more_keys.assign(slice.goes_on.size(), true);  // those of a prefix
  return spans;
}

// These queries see their own keys as well.
AttentionSpans cross_spans(const CrossAttention& pair) {
  AttentionSpans spans{
      {0, static_cast<int32_t>(pair.queries.size())}, {0, static_cast<int32_t>(pair.keys.size())}, false};
  spans.more_keys = {true};
  return spans;
}

Tensor rows_of(const Tensor& x, const TokenRange& range) {
  return x.rows(range.begin, range.end);
}

// The scores of a pair's queries against its keys.
struct CrossScores {
  CrossScores(const AttentionScores& own, const CrossAttention& pair)
      : first_key(static_cast<uint64_t>(pair.first_key)), scores(own) {
    if (own.dropout == 0) return;
    scores.query_rows = own.query_rows.subspan(static_cast<size_t>(pair.queries.begin),
                                               static_cast<size_t>(pair.queries.size()));
    scores.first_keys = {&first_key, 1};
  }
  CrossScores(const CrossScores&) = delete;
  CrossScores& operator=(const CrossScores&) = delete;

  uint64_t first_key;
  AttentionScores scores;
};

void add_rows(Operations& operations, const Tensor& x, const TokenRange& range, const Tensor& to) {
  Tensor rows = rows_of(to, range);
  operations.add(rows, x, rows);
}

Tensor contiguous_copy(Operations& operations, const Tensor& x) {
  Tensor copy = operations.empty(x.shape(), Category::communication);
  operations.copy(x, copy);
  return copy;
}

// The ring: what a rank holds at step i came from rank - i, and goes on to rank + 1.
class Ring {
 public:
  Ring(LayerContext& context, const ContextSlice& slice)
      : operations_(context.operations), queue_(*context.context), slice_(slice) {}

  int steps() const { return slice_.size; }
  int holder(int step) const { return (slice_.rank - step + slice_.size) % slice_.size; }

  // What a rank will hold at the next step.
  struct Coming {
    Tensor tensor;
    CollectiveQueue::Pending arrival;

    Tensor wait() const {
      arrival.wait();
      return tensor;
    }
  };

  // Passes on what this rank holds at `step`, in the background: until it is waited for, `held` may be read.
  Coming pass_on(const char* what, const Tensor& held, int step) {
    Coming coming{
        operations_.empty({slice_.tokens_of(holder(step + 1)), held.dim(1)}, Category::communication), {}};
    coming.arrival = queue_.submit(
        what, [held, tensor = coming.tensor](ProcessGroup& group) mutable { exchange(group, held, tensor); },
        static_cast<int64_t>(held.bytes()));
    return coming;
  }

 private:
  // A send waits for its receive: were all to send first, none would receive.
  static void exchange(ProcessGroup& group, const Tensor& held, Tensor& coming) {
    const int rank = group.rank(), size = group.size();
    const int next = (rank + 1) % size, previous = (rank + size - 1) % size;
    if (rank % 2 == 0) group.send(held, next);
    group.receive(coming, previous);
    if (rank % 2 == 1) group.send(held, next);
  }

  Operations& operations_;
  CollectiveQueue& queue_;
  const ContextSlice& slice_;
};

// Gradients of one step's pairs, kept until what they are added to has arrived.
struct PairGradients {
  TokenRange keys;
  Tensor d_key_values;  // [keys, width]
};

}  // namespace

void ring_attention(LayerContext& context, const ContextSlice& slice, const Tensor& q,
                    const Tensor& key_values, const AttentionScores& scores, Tensor& out,
                    Tensor& log_sum_exp) {
  Operations& operations = context.operations;
  const int64_t heads = q.dim(1), head_dim = q.dim(2);
  Ring ring(context, slice);
  Tensor held = contiguous_copy(operations, key_values);
  for (int step = 0; step < ring.steps(); ++step) {
    Ring::Coming next;
    if (step + 1 < ring.steps()) next = ring.pass_on("keys and values", held, step);
    const KeyValues seen(held, head_dim);
    if (step == 0)
      operations.attention(q, seen.keys, seen.values, causal_spans(slice), scores, out, log_sum_exp);
    for (const CrossAttention& pair : cross_attention_with(slice, ring.holder(step))) {
      Tensor part = operations.empty({pair.queries.size(), heads, head_dim}, Category::workspace);
      Tensor part_log_sum_exp = operations.empty({pair.queries.size(), heads},
                                                 operations.accumulation_dtype(), Category::workspace);
      operations.attention(rows_of(q, pair.queries), rows_of(seen.keys, pair.keys),
                           rows_of(seen.values, pair.keys), cross_spans(pair),
                           CrossScores(scores, pair).scores, part, part_log_sum_exp);
      Tensor whole = rows_of(out, pair.queries), whole_log_sum_exp = rows_of(log_sum_exp, pair.queries);
      operations.merge_attention(whole, whole_log_sum_exp, part, part_log_sum_exp);
    }
    held = next.wait();
  }
}

void ring_attention_backward(LayerContext& context, const ContextSlice& slice, const Tensor& q,
                             const Tensor& key_values, const AttentionScores& scores, const Tensor& out,
                             const Tensor& log_sum_exp, const Tensor& d_out, Tensor& dq,
                             Tensor& d_key_values) {
  Operations& operations = context.operations;
  const int64_t heads = q.dim(1), head_dim = q.dim(2);
  Ring ring(context, slice);
  Tensor held = contiguous_copy(operations, key_values);
  // The gradients travel with their keys and values, one step behind, and come home after a whole turn.
  Ring::Coming gradients{operations.empty(key_values.shape(), Category::communication), {}};
  for (int step = 0; step < ring.steps(); ++step) {
    Ring::Coming next;
    if (step + 1 < ring.steps()) next = ring.pass_on("keys and values", held, step);
    const KeyValues seen(held, head_dim);
    if (step == 0) {
      KeyValues d_own(gradients.tensor, head_dim);
      operations.attention_backward(q, seen.keys, seen.values, causal_spans(slice), scores, out, log_sum_exp,
                                    d_out, dq, d_own.keys, d_own.values);
    }
    std::vector<PairGradients> parts;
    for (const CrossAttention& pair : cross_attention_with(slice, ring.holder(step))) {
      Tensor dq_part = operations.empty({pair.queries.size(), heads, head_dim}, Category::workspace);
      parts.push_back({pair.keys, operations.empty({pair.keys.size(), held.dim(1)}, Category::workspace)});
      KeyValues d_keys_part(parts.back().d_key_values, head_dim);
      operations.attention_backward(rows_of(q, pair.queries), rows_of(seen.keys, pair.keys),
                                    rows_of(seen.values, pair.keys), cross_spans(pair),
                                    CrossScores(scores, pair).scores, rows_of(out, pair.queries),
                                    rows_of(log_sum_exp, pair.queries), rows_of(d_out, pair.queries), dq_part,
                                    d_keys_part.keys, d_keys_part.values);
      add_rows(operations, dq_part, pair.queries, dq);
    }
    const Tensor sum = gradients.wait();
    for (const PairGradients& part : parts) add_rows(operations, part.d_key_values, part.keys, sum);
    gradients = ring.pass_on("gradients of keys and values", sum, step);
    held = next.wait();
  }
  operations.copy(gradients.wait(), d_key_values);
}

}  // namespace collie
