#include "models/embedding.hpp"

#include "kernels/bfloat16.hpp"
#include "models/access.hpp"
#include "models/tensor_parallel.hpp"

namespace collie {
namespace {

// The tokens as rows of this rank's share of the table, absent_id where another rank has them, or the token
// is a virtual one.
std::vector<int32_t> local_rows(const LayerContext& context, const MicroBatch& batch, int64_t rows) {
  const int64_t first = first_id(context, rows);
  std::vector<int32_t> ids;
  ids.reserve(batch.tokens.size());
  for (const int32_t token : batch.tokens)
    ids.push_back(token >= first && token < first + rows ? token - static_cast<int32_t>(first) : absent_id);
  return ids;
}

}  // namespace

// What virtual tokens have is added after the scaling: Gemma scales what its vocabulary's table gives, and
// nothing else.
void Embedding::forward(LayerContext& context, const MicroBatch& batch, Tensor& out) const {
  look_up_tokens(context, batch, out);
  if (scale_ != 1) context.operations.scale(out, scale_in(out.dtype()));
  if (ids_.prompt.exists() && batch.virtual_tokens > 0) {  // a prefix has none
    if (context.prompt != nullptr)
      add_rows(context, *context.prompt, prompt_rows(batch), out);
    else if (!ids_.prompt.has_encoder())
      add_rows(context, *AcquiredWeight(context, ids_.prompt.rows), prompt_rows(batch), out);
  }
  if (ids_.positions != no_parameter)
    add_rows(context, *AcquiredWeight(context, ids_.positions), batch.positions, out);
}

double Embedding::scale_in(DType dtype) const {
  if (dtype != DType::bf16) return scale_;
  bfloat16 rounded{};
  store(static_cast<float>(scale_), &rounded);
  return to_float(rounded);
}

void Embedding::add_rows(LayerContext& context, const Tensor& table, std::span<const int32_t> ids,
                         Tensor& out) {
  Tensor rows = context.operations.empty(out.shape(), Category::workspace);
  context.operations.embedding(table, share_outside(context, ids), rows);
  context.operations.add(out, rows, out);
}

Tensor Embedding::backward_prompt(LayerContext& context, const MicroBatch& batch, const Tensor& d_out) const {
  Operations& operations = context.operations;
  const std::vector<int32_t> rows = prompt_rows(batch);
  const Shape shape = context.prompt->shape();
  Tensor exact = operations.empty(shape, operations.accumulation_dtype(), Category::workspace);
  operations.embedding_backward(share_outside(context, std::span<const int32_t>(rows)), d_out, exact, false);
  Tensor d_rows = operations.empty(shape, Category::activations);
  operations.convert(exact, d_rows);
  return d_rows;
}

void Embedding::add_rows_backward(LayerContext& context, ParameterId id, std::span<const int32_t> ids,
                                  const Tensor& d_out) {
  contribute(context, id, [&](Tensor& gradient, bool accumulate) {
    context.operations.embedding_backward(share_outside(context, ids), d_out, gradient, accumulate);
  });
}

std::vector<int32_t> Embedding::prompt_rows(const MicroBatch& batch) const {
  std::vector<int32_t> rows;
  rows.reserve(batch.tokens.size());
  for (const int32_t token : batch.tokens)
    rows.push_back(token >= vocab_ ? token - static_cast<int32_t>(vocab_) : absent_id);
  return rows;
}

void Embedding::look_up_tokens(LayerContext& context, const MicroBatch& batch, Tensor& out) const {
  const AcquiredWeight table(context, ids_.tokens);
  const int64_t rows = (*table).dim(0);
  const int64_t known = vocab_ + (ids_.prompt.exists() ? batch.virtual_tokens : 0);
  for (const int32_t token : batch.tokens)
    if (token < 0 || token >= known)
      throw RunError(
          "token id {} is outside the model's vocabulary of {} (does the tokenizer belong to the model?)",
          token, vocab_);
  if (context.tensor == nullptr && batch.virtual_tokens == 0)
    return context.operations.embedding(*table, batch.tokens, out);
  Tensor partial = partial_sums(context, out, static_cast<int64_t>(batch.tokens.size()));
  context.operations.embedding(*table, local_rows(context, batch, rows), partial);
  reduce_scatter_to_sequence_region(context, partial, out);
}

void Embedding::backward_weight(LayerContext& context, const MicroBatch& batch, Tensor d_out) const {
  if (ids_.positions != no_parameter) add_rows_backward(context, ids_.positions, batch.positions, d_out);
  if (ids_.prompt.exists() && !ids_.prompt.has_encoder())
    add_rows_backward(context, ids_.prompt.rows, prompt_rows(batch), d_out);
  if (scale_ != 1) context.operations.scale(d_out, scale_in(d_out.dtype()));
  const Tensor inside = gather_from_sequence_region(context, d_out);
  contribute(context, ids_.tokens, [&](Tensor& gradient, bool accumulate) {
    if (context.tensor == nullptr && batch.virtual_tokens == 0)
      return context.operations.embedding_backward(batch.tokens, inside, gradient, accumulate);
    context.operations.embedding_backward(local_rows(context, batch, gradient.dim(0)), inside, gradient,
                                          accumulate);
  });
}

}  // namespace collie
