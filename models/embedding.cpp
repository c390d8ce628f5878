#include "models/embedding.hpp"

#include "models/access.hpp"

namespace collie {

void Embedding::forward(LayerContext& context, const MicroBatch& batch, Tensor& out) const {
  const AcquiredWeight table(context, table_);
  const int64_t vocab = (*table).dim(0);
  for (const int32_t token : batch.tokens)
    if (token < 0 || token >= vocab)
      throw RunError(
          "token id {} is outside the model's vocabulary of {} (does the tokenizer belong to the model?)",
          token, vocab);
  context.operations.embedding(*table, batch.tokens, out);
}

void Embedding::backward_weight(LayerContext& context, const MicroBatch& batch, const Tensor& d_out) const {
  contribute(context, table_, [&](Tensor& gradient, bool accumulate) {
    context.operations.embedding_backward(batch.tokens, d_out, gradient, accumulate);
  });
}

}  // namespace collie
