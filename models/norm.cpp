#include "models/norm.hpp"

#include "models/access.hpp"

namespace collie {

void RmsNorm::forward(LayerContext& context, const Tensor& x, Tensor& y, Tensor& inverse_rms) const {
  const AcquiredWeight weight(context, weight_);
  context.operations.rms_norm(x, *weight, eps_, y, inverse_rms);
}

void RmsNorm::backward_input(LayerContext& context, const Tensor& dy, const Tensor& x,
                             const Tensor& inverse_rms, Tensor& dx, bool accumulate) const {
  const AcquiredWeight weight(context, weight_);
  context.operations.rms_norm_backward_input(dy, x, *weight, inverse_rms, dx, accumulate);
}

void RmsNorm::backward_weight(LayerContext& context, const Tensor& dy, const Tensor& x,
                              const Tensor& inverse_rms) const {
  contribute(context, weight_, [&](Tensor& gradient, bool accumulate) {
    context.operations.rms_norm_backward_weight(dy, x, inverse_rms, gradient, accumulate);
  });
}

}  // namespace collie
