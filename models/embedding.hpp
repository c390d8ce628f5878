// The token embedding: a lookup, so it has a weight gradient and no input gradient. With tensor parallelism
// each rank has a share of the vocabulary's rows, and looks up the tokens that are among them.
#pragma once

#include "io/batch.hpp"
#include "models/linear.hpp"

namespace collie {

class Embedding {
 public:
  explicit Embedding(ParameterId table) : table_(table) {}

  // out and d_out [tokens, hidden], those that the rank holds outside the matrices. Throws RunError for a
  // token outside the vocabulary.
  void forward(LayerContext& context, const MicroBatch& batch, Tensor& out) const;
  void backward_weight(LayerContext& context, const MicroBatch& batch, const Tensor& d_out) const;

 private:
  ParameterId table_;
};

}  // namespace collie
