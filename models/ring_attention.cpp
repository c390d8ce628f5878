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

AttentionSpans causal_spans(const ContextSlice& slice, int64_t window) {
  AttentionSpans spans{slice.own.document_starts, slice.own.document_starts};
  spans.window = window;
  if (window == 1) return spans;  // no query sees a key of another piece
  spans.more_keys = slice.goes_on;
  if (slice.first_position > 0) spans.more_keys.assign(slice.goes_on.size(), true);  // those of a prefix
  return spans;
}

// These queries see their own keys as well.
AttentionSpans cross_spans(const CrossAttention& pair) {
  AttentionSpans spans{{0, static_cast<int32_t>(pair.queries.size())},
                       {0, static_cast<int32_t>(pair.keys.size())},
                       pair.window > 0,
                       pair.window,
                       pair.past_keys};
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

// The ring: what a rank holds at step i came from rank - i, and goes on to rank + 1. From step 1 on, it holds
// the shared keys and values of another rank; at step 0 it has all of its own.
class Ring {
 public:
  Ring(LayerContext& context, const ContextSlice& slice, int64_t window)
      : operations_(context.operations), queue_(*context.context), slice_(slice), window_(window) {
    for (int rank = 0; rank < slice.size; ++rank) shared_.push_back(shared_keys(slice, rank, window));
  }

  int steps() const { return slice_.size; }

  // The pairs of a step; keys are rows of what the rank holds then.
  std::vector<CrossAttention> pairs(int step) const {
    std::vector<CrossAttention> pairs = cross_attention_with(slice_, holder(step), window_);
    if (step == 0) return pairs;
    for (CrossAttention& pair : pairs) pair.keys = shared_of(step).among(pair.keys);
    return pairs;
  }

  // The shared rows of the rank's own x [own tokens, width], one after another.
  Tensor shared_rows(const Tensor& x) const {
    Tensor rows = operations_.empty({shared_of(0).count(), x.dim(1)}, Category::communication);
    for_each_shared([&](const TokenRange& own, const TokenRange& shared) {
      Tensor to = rows_of(rows, shared);
      operations_.copy(rows_of(x, own), to);
    });
    return rows;
  }
  // The way back: puts such rows into x.
  void put_shared_rows(const Tensor& rows, const Tensor& x) const {
    for_each_shared([&](const TokenRange& own, const TokenRange& shared) {
      Tensor to = rows_of(x, own);
      operations_.copy(rows_of(rows, shared), to);
    });
  }

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
    Coming coming{operations_.empty({shared_of(step + 1).count(), held.dim(1)}, Category::communication), {}};
    if (held.dim(0) == 0 && coming.tensor.dim(0) == 0) return coming;
    coming.arrival = queue_.submit(
        what, [held, tensor = coming.tensor](ProcessGroup& group) mutable { exchange(group, held, tensor); },
        static_cast<int64_t>(held.bytes()));
    return coming;
  }

 private:
  int holder(int step) const { return (slice_.rank + 2 * slice_.size - step) % slice_.size; }
  const SharedKeys& shared_of(int step) const { return shared_[static_cast<size_t>(holder(step))]; }

  template <class F>
  void for_each_shared(F f) const {
    for (const TokenRange& own : {shared_of(0).early, shared_of(0).late})
      if (own.size() > 0) f(own, shared_of(0).among(own));
  }

  // A send waits for its receive: were all to send first, none would receive. What has no rows does not
  // travel, as both sides know.
  static void exchange(ProcessGroup& group, const Tensor& held, Tensor& coming) {
    const int rank = group.rank(), size = group.size();
    const int next = (rank + 1) % size, previous = (rank + size - 1) % size;
    const bool sends = held.dim(0) > 0;
    if (sends && rank % 2 == 0) group.send(held, next);
    if (coming.dim(0) > 0) group.receive(coming, previous);
    if (sends && rank % 2 == 1) group.send(held, next);
  }

  Operations& operations_;
  CollectiveQueue& queue_;
  const ContextSlice& slice_;
  const int64_t window_;
  std::vector<SharedKeys> shared_;  // [ranks]
};

// Gradients of one step's pairs, kept until what they are added to has arrived.
struct PairGradients {
  TokenRange keys;
  Tensor d_key_values;  // [keys, width]
};

}  // namespace

void ring_attention(LayerContext& context, const ContextSlice& slice, const Tensor& q,
                    const Tensor& key_values, const AttentionScores& scores, int64_t window, Tensor& out,
                    Tensor& log_sum_exp) {
  Operations& operations = context.operations;
  const int64_t heads = q.dim(1), head_dim = q.dim(2);
  Ring ring(context, slice, window);
  Tensor travelling = ring.shared_rows(key_values);
  for (int step = 0; step < ring.steps(); ++step) {
    Ring::Coming next;
    if (step + 1 < ring.steps()) next = ring.pass_on("keys and values", travelling, step);
    const KeyValues seen(step == 0 ? key_values : travelling, head_dim);
    if (step == 0)
      operations.attention(q, seen.keys, seen.values, causal_spans(slice, window), scores, out, log_sum_exp);
    for (const CrossAttention& pair : ring.pairs(step)) {
      Tensor part = operations.empty({pair.queries.size(), heads, head_dim}, Category::workspace);
      Tensor part_log_sum_exp = operations.empty({pair.queries.size(), heads},
                                                 operations.accumulation_dtype(), Category::workspace);
      operations.attention(rows_of(q, pair.queries), rows_of(seen.keys, pair.keys),
                           rows_of(seen.values, pair.keys), cross_spans(pair),
                           CrossScores(scores, pair).scores, part, part_log_sum_exp);
      Tensor whole = rows_of(out, pair.queries), whole_log_sum_exp = rows_of(log_sum_exp, pair.queries);
      operations.merge_attention(whole, whole_log_sum_exp, part, part_log_sum_exp);
    }
    travelling = next.wait();
  }
}

void ring_attention_backward(LayerContext& context, const ContextSlice& slice, const Tensor& q,
                             const Tensor& key_values, const AttentionScores& scores, int64_t window,
                             const Tensor& out, const Tensor& log_sum_exp, const Tensor& d_out, Tensor& dq,
                             Tensor& d_key_values) {
  Operations& operations = context.operations;
  const int64_t heads = q.dim(1), head_dim = q.dim(2);
  Ring ring(context, slice, window);
  Tensor travelling = ring.shared_rows(key_values);
  // The gradients travel with their keys and values, one step behind, and come home after a whole turn.
  Ring::Coming gradients;
  for (int step = 0; step < ring.steps(); ++step) {
    Ring::Coming next;
    if (step + 1 < ring.steps()) next = ring.pass_on("keys and values", travelling, step);
    const KeyValues seen(step == 0 ? key_values : travelling, head_dim);
    if (step == 0) {
      KeyValues d_own(d_key_values, head_dim);
      operations.attention_backward(q, seen.keys, seen.values, causal_spans(slice, window), scores, out,
                                    log_sum_exp, d_out, dq, d_own.keys, d_own.values);
    }
    std::vector<PairGradients> parts;
    for (const CrossAttention& pair : ring.pairs(step)) {
      Tensor dq_part = operations.empty({pair.queries.size(), heads, head_dim}, Category::workspace);
      parts.push_back(
          {pair.keys, operations.empty({pair.keys.size(), key_values.dim(1)}, Category::workspace)});
      KeyValues d_keys_part(parts.back().d_key_values, head_dim);
      operations.attention_backward(rows_of(q, pair.queries), rows_of(seen.keys, pair.keys),
                                    rows_of(seen.values, pair.keys), cross_spans(pair),
                                    CrossScores(scores, pair).scores, rows_of(out, pair.queries),
                                    rows_of(log_sum_exp, pair.queries), rows_of(d_out, pair.queries), dq_part,
                                    d_keys_part.keys, d_keys_part.values);
      add_rows(operations, dq_part, pair.queries, dq);
    }
    const Tensor sum = step == 0 ? d_key_values : gradients.wait();
    for (const PairGradients& part : parts) add_rows(operations, part.d_key_values, part.keys, sum);
    gradients = ring.pass_on("gradients of keys and values", step == 0 ? ring.shared_rows(sum) : sum, step);
    travelling = next.wait();
  }
  ring.put_shared_rows(gradients.wait(), d_key_values);
}

}  // namespace collie
