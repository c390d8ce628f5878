// The token embedding: a lookup, so it has a weight gradient and no input gradient.
#pragma once

#include "io/batch.hpp"
#include "models/linear.hpp"

namespace collie {

class Embedding {
 public:
  explicit Embedding(ParameterId table) : table_(table) {}

  // out [tokens, hidden]. Throws RunError for a token outside the vocabulary.
  void forward(LayerContext& context, const MicroBatch& batch, Tensor& out) const;
  void backward_weight(LayerContext& context, const MicroBatch& batch, const Tensor& d_out) const;

 private:
  ParameterId table_;
};

}  // namespace collie
