// RMSNorm or LayerNorm as a layer: the operation, its weights and their gradients.
#pragma once

#include "models/linear.hpp"
#include "models/model_config.hpp"
#include "models/residual.hpp"

namespace collie {

class Norm {
 public:
  Norm(const NormIds& ids, const NormSettings& settings) : ids_(ids), settings_(settings) {}

  // What backward needs beside x, of `tokens` tokens: [tokens], or [tokens, 2] for LayerNorm.
  Tensor empty_statistics(Operations& operations, int64_t tokens, Category category) const;

  // y [tokens, hidden] of the whole stream, which is settled by it: stream.x is what backward calls x.
  void forward(LayerContext& context, ResidualStream& stream, Tensor& y, Tensor& statistics) const;
  // dx = d_residual (where it is defined) + the gradient through the norm; dx may be d_residual.
  void backward_input(LayerContext& context, const Tensor& dy, const Tensor& x, const Tensor& statistics,
                      const Tensor& d_residual, Tensor& dx) const;
  void backward_weight(LayerContext& context, const Tensor& dy, const Tensor& x,
                       const Tensor& statistics) const;

 private:
  NormIds ids_;
  NormSettings settings_;
};

}  // namespace collie
