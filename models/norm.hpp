// RMSNorm as a layer: the operation, its weight and its gradient.
#pragma once

#include "models/linear.hpp"

namespace collie {

class RmsNorm {
 public:
  RmsNorm(ParameterId weight, double eps) : weight_(weight), eps_(eps) {}

  // x, y [tokens, hidden]; inverse_rms [tokens], kept for backward.
  void forward(LayerContext& context, const Tensor& x, Tensor& y, Tensor& inverse_rms) const;
  void backward_input(LayerContext& context, const Tensor& dy, const Tensor& x, const Tensor& inverse_rms,
                      Tensor& dx, bool accumulate) const;
  void backward_weight(LayerContext& context, const Tensor& dy, const Tensor& x,
                       const Tensor& inverse_rms) const;

 private:
  ParameterId weight_;
  double eps_;
};

}  // namespace collie
