#include "models/sampled_labels.hpp"

#include <fmt/format.h>

#include "base/error.hpp"
#include "base/random.hpp"
#include "models/tensor_parallel.hpp"

namespace collie {

namespace {

// The best of the token over all shards, the first of equals. best [shards, tokens, 2].
int32_t label_of(const std::vector<double>& best, size_t token, size_t tokens, int64_t vocab) {
  double largest = best[2 * token], id = best[2 * token + 1];
  for (size_t at = 2 * (token + tokens); at < best.size(); at += 2 * tokens)
    if (best[at] > largest) {
      largest = best[at];
      id = best[at + 1];
    }
  if (!(id >= 0 && id < static_cast<double>(vocab)))
    throw RunError("a sampled label is {}, outside the vocabulary of {}", id, vocab);
  return static_cast<int32_t>(id);
}

}  // namespace

uint64_t label_key(const LabelDraw& draw) {
  return random_key(draw.seed, fmt::format("sampled labels/{}", draw.step));
}

std::vector<int32_t> sample_labels(LayerContext& context, const LabelDraw& draw, const Tensor& logits,
                                   std::span<const int32_t> labels, std::span<const uint64_t> numbers) {
  Operations& operations = context.operations;
  const int64_t tokens = logits.dim(0), width = logits.dim(1);
  const int64_t shards = context.tensor == nullptr ? 1 : context.tensor->size();
  COLLIE_ASSERT(static_cast<int64_t>(numbers.size()) == tokens, "{} tokens of {} have numbers",
                numbers.size(), tokens);
  Tensor best = operations.empty({tokens, 2}, DType::f64, Category::communication);
  operations.gumbel_max(logits, shards == 1 ? 0 : first_id(context, width), label_key(draw), numbers, best);
  if (shards > 1) {
    Tensor all = operations.empty({shards * tokens, 2}, DType::f64, Category::communication);
    context.tensor->all_gather(best, all);
    best = std::move(all);
  }
  const std::vector<double> values = operations.read(best.reshape({best.numel()})).value();
  std::vector<int32_t> sampled(labels.begin(), labels.end());
  if (!operations.has_values()) return sampled;
  for (size_t i = 0; i < sampled.size(); ++i)
    if (sampled[i] != ignored_label) sampled[i] = label_of(values, i, sampled.size(), shards * width);
  return sampled;
}

}  // namespace collie
