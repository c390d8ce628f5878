#include "models/norm.hpp"

#include "models/access.hpp"

namespace collie {

void RmsNorm::forward(LayerContext& context, ResidualStream& stream, Tensor& y, Tensor& inverse_rms) const {
  const AcquiredWeight weight(context, weight_);
  if (!stream.delta.defined()) return context.operations.rms_norm(stream.x, *weight, 0, eps_, y, inverse_rms);
  Tensor sum = std::exchange(stream.delta, {});
  context.operations.add_rms_norm(sum, stream.x, *weight, 0, eps_, sum, y, inverse_rms);
  stream.x = std::move(sum);
}

void RmsNorm::backward_input(LayerContext& context, const Tensor& dy, const Tensor& x,
                             const Tensor& inverse_rms, const Tensor& d_residual, Tensor& dx) const {
  const AcquiredWeight weight(context, weight_);
  context.operations.rms_norm_backward_input(dy, x, *weight, 0, inverse_rms, d_residual, dx);
}

void RmsNorm::backward_weight(LayerContext& context, const Tensor& dy, const Tensor& x,
                              const Tensor& inverse_rms) const {
  contribute(context, weight_, [&](Tensor& gradient, bool accumulate) {
    context.operations.rms_norm_backward_weight(dy, x, inverse_rms, gradient, accumulate);
  });
}

}  // namespace collie
