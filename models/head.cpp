#include "models/head.hpp"

#include <algorithm>
#include <optional>
#include <utility>

#include "models/once_a_micro_batch.hpp"

namespace collie {
namespace {

std::span<const int32_t> labels_of(const MicroBatch& batch, int64_t begin, int64_t end) {
  return std::span(batch.labels).subspan(static_cast<size_t>(begin), static_cast<size_t>(end - begin));
}

}  // namespace

Head::Head(RmsNorm norm, std::unique_ptr<Linear> projection, int64_t vocab)
    : norm_(norm), projection_(std::move(projection)), vocab_(vocab) {}

void Head::check_labels(const MicroBatch& batch, int64_t tokens) const {
  COLLIE_ASSERT(static_cast<int64_t>(batch.labels.size()) == tokens, "{} labels for {} tokens",
                batch.labels.size(), tokens);
  for (const int32_t label : batch.labels)
    if (label != ignored_label && (label < 0 || label >= vocab_))
      throw RunError("label {} is outside the model's vocabulary of {}", label, vocab_);
}

double Head::forward(LayerContext& context, const MicroBatch& batch, const Tensor& x, double gradient_scale,
                     Loss& loss, HeadStash& stash) const {
  Operations& operations = context.operations;
  const int64_t tokens = x.dim(0);
  check_labels(batch, tokens);
  stash.input = x;
  stash.inverse_rms = operations.empty({tokens}, Category::activations);
  // Holds the normed input, which each chunk replaces by its gradient once it is done with it.
  stash.d_normed = operations.empty(x.shape(), Category::activations);
  norm_.forward(context, x, stash.d_normed, stash.inverse_rms);

  OnceAcquired source(context.source);
  std::optional<OnceOpened> sink;
  if (context.sink) sink.emplace(*context.sink);
  LayerContext inner{operations, source, sink ? &*sink : nullptr};
  double loss_sum = 0;
  int64_t begin = 0;
  do {  // once with no tokens at all: the sink's contract asks for a contribution, of zeros
    const int64_t end = std::min(begin + head_chunk, tokens);
    Tensor normed = stash.d_normed.rows(begin, end);
    Tensor scores =
        operations.empty({end - begin, vocab_}, Category::workspace);  // the logits, then d(logits)
    if (end > begin) {
      projection_->forward(inner, normed, scores);
      loss_sum += loss.chunk(operations, scores, labels_of(batch, begin, end), gradient_scale);
    }
    projection_->backward_weight(inner, normed, scores);
    if (end > begin) projection_->backward_input(inner, scores, normed, false);
    begin = end;
  } while (begin < tokens);
  if (sink) sink->finish();
  return loss_sum;
}

Tensor Head::backward_input(LayerContext& context, const HeadStash& stash) const {
  Tensor dx = context.operations.empty(stash.input.shape(), Category::activations);
  norm_.backward_input(context, stash.d_normed, stash.input, stash.inverse_rms, dx, false);
  return dx;
}

void Head::backward_weight(LayerContext& context, HeadStash& stash) const {
  norm_.backward_weight(context, stash.d_normed, stash.input, stash.inverse_rms);
  stash = HeadStash();
}

double Head::evaluate(LayerContext& context, const MicroBatch& batch, const Tensor& x, Loss& loss) const {
  Operations& operations = context.operations;
  const int64_t tokens = x.dim(0);
  check_labels(batch, tokens);
  OnceAcquired source(context.source);
  LayerContext inner{operations, source, nullptr};
  double loss_sum = 0;
  for (int64_t begin = 0; begin < tokens; begin += head_chunk) {
    const int64_t end = std::min(begin + head_chunk, tokens);
    Tensor chunk = logits(inner, x.rows(begin, end));
    loss_sum += loss.chunk(operations, chunk, labels_of(batch, begin, end), 1.0);
  }
  return loss_sum;
}

Tensor Head::logits(LayerContext& context, const Tensor& x) const {
  Operations& operations = context.operations;
  Tensor normed = operations.empty(x.shape(), Category::workspace);
  Tensor inverse_rms = operations.empty({x.dim(0)}, Category::workspace);
  norm_.forward(context, x, normed, inverse_rms);
  Tensor result = operations.empty({x.dim(0), vocab_}, Category::workspace);
  projection_->forward(context, normed, result);
  return result;
}

}  // namespace collie
