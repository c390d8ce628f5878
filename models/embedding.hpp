// The token embedding: a lookup, so it has a weight gradient and no input gradient. With tensor parallelism
// each rank has a share of the vocabulary's rows, and looks up the tokens that are among them. Learned
// positions, where the model has them, are a second table, whole on every rank, of which a rank adds the rows
// of those tokens that it holds outside the matrices; and so are the rows of virtual tokens, which have none
// in the vocabulary's table.
#pragma once

#include "io/batch.hpp"
#include "models/linear.hpp"

namespace collie {

class Embedding {
 public:
  // The vocabulary has `vocab` tokens, and virtual ones follow.
  Embedding(const EmbeddingIds& ids, int64_t vocab, double scale = 1)
      : ids_(ids), vocab_(vocab), scale_(scale) {}

  // out and d_out [tokens, hidden], those that the rank holds outside the matrices. Throws RunError for a
  // token that is neither in the vocabulary nor a virtual one.
  void forward(LayerContext& context, const MicroBatch& batch, Tensor& out) const;
  // Where the rows of virtual tokens have an encoder: the gradient of what it gave, [virtual tokens, hidden].
  Tensor backward_prompt(LayerContext& context, const MicroBatch& batch, const Tensor& d_out) const;
  // May overwrite d_out.
  void backward_weight(LayerContext& context, const MicroBatch& batch, Tensor d_out) const;

 private:
  void look_up_tokens(LayerContext& context, const MicroBatch& batch, Tensor& out) const;
  // out += rows of a table that every rank has whole; ids [all tokens].
  static void add_rows(LayerContext& context, const Tensor& table, std::span<const int32_t> ids, Tensor& out);
  static void add_rows_backward(LayerContext& context, ParameterId table, std::span<const int32_t> ids,
                                const Tensor& d_out);
  // The virtual tokens as rows of their table, absent_id for the others.
  std::vector<int32_t> prompt_rows(const MicroBatch& batch) const;

  EmbeddingIds ids_;
  int64_t vocab_;
  // Multiplies the tokens' rows. Rounded as the rows are: transformers keeps the factor in their dtype.
  double scale_in(DType dtype) const;

  double scale_;
};

}  // namespace collie
