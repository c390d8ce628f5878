#include "models/norm.hpp"

#include <optional>

#include "models/access.hpp"

namespace collie {

Tensor Norm::empty_statistics(Operations& operations, int64_t tokens, Category category) const {
  const Shape shape = settings_.kind == NormKind::layer ? Shape{tokens, 2} : Shape{tokens};
  return operations.empty(shape, operations.accumulation_dtype(), category);
}

void Norm::forward(LayerContext& context, ResidualStream& stream, Tensor& y, Tensor& statistics) const {
  Operations& operations = context.operations;
  const AcquiredWeight weight(context, ids_.weight);
  std::optional<AcquiredWeight> bias;
  if (ids_.bias != no_parameter) bias.emplace(context, ids_.bias);
  const Tensor shift = bias ? **bias : Tensor();
  const bool layer = settings_.kind == NormKind::layer;
  if (!stream.delta.defined()) {
    if (layer) return operations.layer_norm(stream.x, *weight, shift, settings_.eps, y, statistics);
    return operations.rms_norm(stream.x, *weight, settings_.weight_offset, settings_.eps, y, statistics);
  }
  Tensor sum = std::exchange(stream.delta, {});
  if (layer)
    operations.add_layer_norm(sum, stream.x, *weight, shift, settings_.eps, sum, y, statistics);
  else
    operations.add_rms_norm(sum, stream.x, *weight, settings_.weight_offset, settings_.eps, sum, y,
                            statistics);
  stream.x = std::move(sum);
}

void Norm::backward_input(LayerContext& context, const Tensor& dy, const Tensor& x, const Tensor& statistics,
                          const Tensor& d_residual, Tensor& dx) const {
  const AcquiredWeight weight(context, ids_.weight);
  if (settings_.kind == NormKind::layer)
    return context.operations.layer_norm_backward_input(dy, x, *weight, statistics, d_residual, dx);
  context.operations.rms_norm_backward_input(dy, x, *weight, settings_.weight_offset, statistics, d_residual,
                                             dx);
}

void Norm::backward_weight(LayerContext& context, const Tensor& dy, const Tensor& x,
                           const Tensor& statistics) const {
  contribute(context, ids_.weight, [&](Tensor& gradient, bool accumulate) {
    if (settings_.kind == NormKind::layer)
      return context.operations.layer_norm_backward_weight(dy, x, statistics, gradient, accumulate);
    context.operations.rms_norm_backward_weight(dy, x, statistics, gradient, accumulate);
  });
  if (ids_.bias == no_parameter) return;
  contribute(context, ids_.bias, [&](Tensor& gradient, bool accumulate) {
    context.operations.column_sum(dy, gradient, accumulate);
  });
}

}  // namespace collie
