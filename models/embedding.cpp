#include "models/embedding.hpp"

#include "models/access.hpp"
#include "models/tensor_parallel.hpp"

namespace collie {
namespace {

// The tokens as rows of this rank's share of the table, absent_id where another rank has them.
std::vector<int32_t> local_rows(const LayerContext& context, const MicroBatch& batch, int64_t rows) {
  const int64_t first = first_id(context, rows);
  std::vector<int32_t> ids;
  ids.reserve(batch.tokens.size());
  for (const int32_t token : batch.tokens)
    ids.push_back(token >= first && token < first + rows ? token - static_cast<int32_t>(first) : absent_id);
  return ids;
}

}  // namespace

void Embedding::forward(LayerContext& context, const MicroBatch& batch, Tensor& out) const {
  look_up_tokens(context, batch, out);
  if (scale_ != 1) context.operations.scale(out, scale_);
  if (ids_.positions == no_parameter) return;
  Operations& operations = context.operations;
  const AcquiredWeight table(context, ids_.positions);
  Tensor rows = operations.empty(out.shape(), Category::workspace);
  operations.embedding(*table, share_outside<const int32_t>(context, batch.positions), rows);
  operations.add(out, rows, out);
}

void Embedding::look_up_tokens(LayerContext& context, const MicroBatch& batch, Tensor& out) const {
  const AcquiredWeight table(context, ids_.tokens);
  const int64_t rows = (*table).dim(0), vocab = context.tensor ? rows * context.tensor->size() : rows;
  for (const int32_t token : batch.tokens)
    if (token < 0 || token >= vocab)
      throw RunError(
          "token id {} is outside the model's vocabulary of {} (does the tokenizer belong to the model?)",
          token, vocab);
  if (context.tensor == nullptr) return context.operations.embedding(*table, batch.tokens, out);
  Tensor partial = partial_sums(context, out, static_cast<int64_t>(batch.tokens.size()));
  context.operations.embedding(*table, local_rows(context, batch, rows), partial);
  reduce_scatter_to_sequence_region(context, partial, out);
}

void Embedding::backward_weight(LayerContext& context, const MicroBatch& batch, Tensor d_out) const {
  if (ids_.positions != no_parameter)
    contribute(context, ids_.positions, [&](Tensor& gradient, bool accumulate) {
      context.operations.embedding_backward(share_outside<const int32_t>(context, batch.positions), d_out,
                                            gradient, accumulate);
    });
  if (scale_ != 1) context.operations.scale(d_out, scale_);
  const Tensor inside = gather_from_sequence_region(context, d_out);
  contribute(context, ids_.tokens, [&](Tensor& gradient, bool accumulate) {
    if (context.tensor == nullptr)
      return context.operations.embedding_backward(batch.tokens, inside, gradient, accumulate);
    context.operations.embedding_backward(local_rows(context, batch, gradient.dim(0)), inside, gradient,
                                          accumulate);
  });
}

}  // namespace collie
