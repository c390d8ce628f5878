// The token embedding: a lookup, so it has a weight gradient and no input gradient. With tensor parallelism
// each rank has a share of the vocabulary's rows, and looks up the tokens that are among them. Learned
// positions, where the model has them, are a second table, whole on every rank, of which a rank adds the rows
// of those tokens that it holds outside the matrices.
#pragma once

#include "io/batch.hpp"
#include "models/linear.hpp"

namespace collie {

class Embedding {
 public:
  explicit Embedding(const EmbeddingIds& ids, double scale = 1) : ids_(ids), scale_(scale) {}

  // out and d_out [tokens, hidden], those that the rank holds outside the matrices. Throws RunError for a
  // token outside the vocabulary.
  void forward(LayerContext& context, const MicroBatch& batch, Tensor& out) const;
  // May overwrite d_out.
  void backward_weight(LayerContext& context, const MicroBatch& batch, Tensor d_out) const;

 private:
  void look_up_tokens(LayerContext& context, const MicroBatch& batch, Tensor& out) const;

  EmbeddingIds ids_;
  double scale_;  // of the tokens' rows
};

}  // namespace collie
