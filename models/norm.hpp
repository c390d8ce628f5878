// RMSNorm as a layer: the operation, its weight and its gradient.
#pragma once

#include "models/linear.hpp"
#include "models/residual.hpp"

namespace collie {

class RmsNorm {
 public:
  RmsNorm(ParameterId weight, double eps) : weight_(weight), eps_(eps) {}

  // y [tokens, hidden] of the whole stream, which is settled by it: stream.x is what backward calls x.
  // inverse_rms [tokens], kept for backward.
  void forward(LayerContext& context, ResidualStream& stream, Tensor& y, Tensor& inverse_rms) const;
  // dx = d_residual (where it is defined) + the gradient through the norm; dx may be d_residual.
  void backward_input(LayerContext& context, const Tensor& dy, const Tensor& x, const Tensor& inverse_rms,
                      const Tensor& d_residual, Tensor& dx) const;
  void backward_weight(LayerContext& context, const Tensor& dy, const Tensor& x,
                       const Tensor& inverse_rms) const;

 private:
  ParameterId weight_;
  double eps_;
};

}  // namespace collie
