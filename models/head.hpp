// The last norm, the head and the loss. Full logits never exist: chunks of tokens go through the head, the
// loss and the head's backward at once, so this layer's weight gradient comes from its forward. With tensor
// parallelism each rank has a share of the vocabulary: a chunk costs an all-gather of what the loss needs of
// the other shares, and d(hidden) is summed once a micro-batch.
#pragma once

#include <memory>

#include "io/batch.hpp"
#include "models/linear.hpp"
#include "models/loss.hpp"
#include "models/norm.hpp"
#include "models/tensor_parallel.hpp"

namespace collie {

struct HeadStash {
  Tensor input;       // [tokens, hidden], those that the rank holds outside the matrices, as all here
  Tensor statistics;  // of the norm
  Tensor d_normed;    // [tokens, hidden]
};

class Head {
 public:
  // soft_cap: c > 0: a logit z becomes c · tanh(z / c) (Gemma 2, arXiv 2408.00118); 0: none.
  Head(const Norm& norm, std::unique_ptr<Linear> projection, int64_t vocab, double soft_cap = 0);

  // Of the stream [tokens, hidden]. Adds the losses of the targets to loss_sum f64 [1], chunk by chunk. The
  // projection's gradient goes to context.sink, opened once a micro-batch whatever the number of chunks
  // (Operations::head_chunk). numbers [tokens]: the tokens' in the run, where context.labels wants labels
  // sampled.
  void forward(LayerContext& context, const MicroBatch& batch, ResidualStream stream, double gradient_scale,
               Loss& loss, Tensor& loss_sum, HeadStash& stash, std::span<const uint64_t> numbers = {}) const;
  // d(x) [tokens, hidden].
  Tensor backward_input(LayerContext& context, const HeadStash& stash) const;
  // The norm's gradient; empties the stash.
  void backward_weight(LayerContext& context, HeadStash& stash) const;

  // The losses alone. loss_sums f64 [1]: their sum; or [documents]: the sum of each of the batch's documents,
  // which then goes through the head alone, so that its neighbours do not matter. That costs a product per
  // document even if they are short.
  void evaluate(LayerContext& context, const MicroBatch& batch, const Tensor& x, Loss& loss,
                Tensor& loss_sums) const;
  // x [tokens, hidden] -> [tokens, vocab]; for generation, where every rank has all tokens.
  Tensor logits(LayerContext& context, const Tensor& x) const;

 private:
  void check_labels(const MicroBatch& batch, int64_t tokens) const;
  int64_t share_of_vocabulary(const LayerContext& context) const;
  // Caps logits in place. Returns what backward_cap() needs, undefined without a cap: logits / cap.
  Tensor cap(Operations& operations, Tensor& logits) const;
  // d(capped logits) becomes d(logits), in place.
  static void backward_cap(Operations& operations, const Tensor& scaled, Tensor& gradient);
  // x [tokens, hidden] -> [tokens, this rank's share of the vocabulary].
  Tensor scores(LayerContext& context, const Tensor& x) const;
  // Of tokens [begin, end) of x.
  void evaluate_range(LayerContext& context, const MicroBatch& batch, const Tensor& x,
                      const TokenRange& range, Loss& loss, Tensor& loss_sum) const;
  void chunk_loss(LayerContext& context, Loss& loss, Tensor& scores, std::span<const int32_t> labels,
                  double gradient_scale, Tensor& loss_sum) const;

  Norm norm_;
  std::unique_ptr<Linear> projection_;
  int64_t vocab_;
  double soft_cap_;
};

}  // namespace collie
