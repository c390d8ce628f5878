#include "models/head.hpp"

#include <algorithm>
#include <optional>
#include <utility>
#include <vector>

#include "models/once_per_micro_batch.hpp"
#include "models/sampled_labels.hpp"

namespace collie {
namespace {

std::span<const int32_t> labels_of(const MicroBatch& batch, int64_t begin, int64_t end) {
  return std::span(batch.labels).subspan(static_cast<size_t>(begin), static_cast<size_t>(end - begin));
}

}  // namespace

Head::Head(const Norm& norm, std::unique_ptr<Linear> projection, int64_t vocab, double soft_cap)
    : norm_(norm), projection_(std::move(projection)), vocab_(vocab), soft_cap_(soft_cap) {}

// With s = z / c, d(c · tanh(s)) / dz is tanh'(s): the factors c and 1 / c of the two scalings cancel.
Tensor Head::cap(Operations& operations, Tensor& logits) const {
  if (soft_cap_ == 0) return {};
  operations.scale(logits, 1 / soft_cap_);
  Tensor scaled = logits;
  logits = operations.empty(scaled.shape(), Category::workspace);
  operations.activate(Activation::tanh, scaled, logits);
  operations.scale(logits, soft_cap_);
  return scaled;
}

void Head::backward_cap(Operations& operations, const Tensor& scaled, Tensor& gradient) {
  if (scaled.defined()) operations.activate_backward(Activation::tanh, scaled, gradient, gradient);
}

void Head::check_labels(const MicroBatch& batch, int64_t tokens) const {
  COLLIE_ASSERT(static_cast<int64_t>(batch.labels.size()) == tokens, "{} labels for {} tokens",
                batch.labels.size(), tokens);
  for (const int32_t label : batch.labels)
    if (label != ignored_label && (label < 0 || label >= vocab_))
      throw RunError("label {} is outside the model's vocabulary of {}", label, vocab_);
}

int64_t Head::share_of_vocabulary(const LayerContext& context) const {
  return context.tensor == nullptr ? vocab_ : vocab_ / context.tensor->size();
}

void Head::chunk_loss(LayerContext& context, Loss& loss, Tensor& scores, std::span<const int32_t> labels,
                      double gradient_scale, Tensor& loss_sum) const {
  if (context.tensor == nullptr)
    return loss.chunk(context.operations, scores, labels, gradient_scale, loss_sum);
  loss.chunk_of_shard(context.operations, scores, labels, first_id(context, scores.dim(1)), *context.tensor,
                      gradient_scale, loss_sum);
}

void Head::forward(LayerContext& context, const MicroBatch& batch, ResidualStream stream,
                   double gradient_scale, Loss& loss, Tensor& loss_sum, HeadStash& stash,
                   std::span<const uint64_t> numbers) const {
  Operations& operations = context.operations;
  const Shape shape = stream.x.shape();
  const int64_t tokens = tokens_inside(context, stream.x), chunk = operations.head_chunk(vocab_);
  check_labels(batch, tokens);
  stash.statistics = norm_.empty_statistics(operations, shape[0], Category::activations);
  stash.d_normed = operations.empty(shape, Category::activations);
  norm_.forward(context, stream, stash.d_normed, stash.statistics);
  stash.input = std::move(stream.x);
  // Holds the normed input of all tokens, which each chunk replaces by its gradient once it is done with it.
  Tensor inside = gather_from_sequence_region(context, stash.d_normed);

  OnceAcquired source(context.source);
  std::optional<OnceOpened> sink;
  if (context.sink) sink.emplace(*context.sink);
  LayerContext inner{operations, source, sink ? &*sink : nullptr, context.tensor};
  int64_t begin = 0;
  do {  // once with no tokens at all: the sink's contract asks for a contribution, of zeros
    const int64_t end = std::min(begin + chunk, tokens);
    Tensor normed = inside.rows(begin, end);
    Tensor scores = operations.empty({end - begin, share_of_vocabulary(context)},
                                     Category::workspace);  // the logits, then d(logits)
    LinearStash kept;
    if (end > begin) {
      projection_->forward(inner, normed, scores, &kept);
      const Tensor scaled = cap(operations, scores);
      std::vector<int32_t> sampled;
      std::span<const int32_t> labels = labels_of(batch, begin, end);
      if (context.labels) {
        sampled = sample_labels(inner, *context.labels, scores, labels,
                                numbers.subspan(static_cast<size_t>(begin), labels.size()));
        labels = sampled;
      }
      chunk_loss(inner, loss, scores, labels, gradient_scale, loss_sum);
      backward_cap(operations, scaled, scores);
    }
    projection_->backward_weight(inner, normed, scores, kept);
    if (end > begin) projection_->backward_input(inner, scores, normed, false, kept);
    begin = end;
  } while (begin < tokens);
  if (sink) sink->finish();
  reduce_scatter_to_sequence_region(context, inside, stash.d_normed);
}

Tensor Head::backward_input(LayerContext& context, const HeadStash& stash) const {
  Tensor dx = context.operations.empty(stash.input.shape(), Category::activations);
  norm_.backward_input(context, stash.d_normed, stash.input, stash.statistics, {}, dx);
  return dx;
}

void Head::backward_weight(LayerContext& context, HeadStash& stash) const {
  norm_.backward_weight(context, stash.d_normed, stash.input, stash.statistics);
  stash = HeadStash();
}

void Head::evaluate(LayerContext& context, const MicroBatch& batch, const Tensor& x, Loss& loss,
                    Tensor& loss_sums) const {
  const int64_t tokens = tokens_inside(context, x);
  check_labels(batch, tokens);
  const Tensor inside =
      gather_from_sequence_region(context, x);  // before the norm, so that the norm, too, works in chunks
  OnceAcquired source(context.source);
  LayerContext inner{context.operations, source, nullptr, context.tensor};
  if (loss_sums.numel() == 1) return evaluate_range(inner, batch, inside, {0, tokens}, loss, loss_sums);
  for (int64_t document = 0; document < loss_sums.numel(); ++document) {
    const auto at = static_cast<size_t>(document);
    Tensor sum = loss_sums.rows(document, document + 1);
    evaluate_range(inner, batch, inside, {batch.document_starts[at], batch.document_starts[at + 1]}, loss,
                   sum);
  }
}

void Head::evaluate_range(LayerContext& context, const MicroBatch& batch, const Tensor& x,
                          const TokenRange& range, Loss& loss, Tensor& loss_sum) const {
  const int64_t chunk = context.operations.head_chunk(vocab_);
  for (int64_t begin = range.begin; begin < range.end; begin += chunk) {
    const int64_t end = std::min(begin + chunk, range.end);
    Tensor logits = scores(context, x.rows(begin, end));
    chunk_loss(context, loss, logits, labels_of(batch, begin, end), 1.0, loss_sum);
  }
}

Tensor Head::scores(LayerContext& context, const Tensor& x) const {
  Operations& operations = context.operations;
  Tensor normed = operations.empty(x.shape(), Category::workspace);
  Tensor statistics = norm_.empty_statistics(operations, x.dim(0), Category::workspace);
  ResidualStream stream{x, {}};
  norm_.forward(context, stream, normed, statistics);
  Tensor result = operations.empty({x.dim(0), share_of_vocabulary(context)}, Category::workspace);
  projection_->forward(context, normed, result, nullptr);
  cap(operations, result);
  return result;
}

Tensor Head::logits(LayerContext& context, const Tensor& x) const {
  const Tensor own = scores(context, x);
  if (context.tensor == nullptr) return own;
  Operations& operations = context.operations;
  const int64_t tokens = own.dim(0), width = own.dim(1), ranks = context.tensor->size();
  Tensor gathered = operations.empty({ranks * tokens, width}, Category::communication);
  context.tensor->all_gather(own, gathered);
  Tensor all = operations.empty({tokens, vocab_}, Category::workspace);
  for (int64_t rank = 0; rank < ranks; ++rank) {
    Tensor columns = all.columns(rank * width, (rank + 1) * width);
    operations.copy(gathered.rows(rank * tokens, (rank + 1) * tokens), columns);
  }
  return all;
}

}  // namespace collie
