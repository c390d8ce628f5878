// Clipping by the global norm. These are constant expressions, so that kernels/cuda may use them in kernels.
#pragma once

#include <limits>

namespace collie {

// The factor that brings a gradient of norm `norm` down to max_norm; 1 if the norm is below it or max_norm is
// 0. It is PyTorch's clip_grad_norm_: max_norm / (norm + 1e-6), at most 1. NaN stays NaN.
constexpr double clip_factor(double norm, double max_norm) {
  if (!(max_norm > 0)) return 1;
  const double factor = max_norm / (norm + 1e-6);
  return factor >= 1 ? 1 : factor;
}

// By what a step's gradients are clipped, and above what the step is to update nothing.
struct StepBounds {
  double max_norm = 0;  // of clipping; 0: none
  double most_loss_sum = std::numeric_limits<double>::max(), most_norm = std::numeric_limits<double>::max();
};

// Whether a step updates: its loss and its norm are finite, and not above the bounds.
constexpr bool step_counts(double loss_sum, double norm, const StepBounds& bounds) {
  constexpr double most = std::numeric_limits<double>::max();
  return loss_sum >= -most && loss_sum <= most && norm >= -most && norm <= most &&
         loss_sum <= bounds.most_loss_sum && norm <= bounds.most_norm;
}

// The factor of a step's gradients; NaN if nothing is to be updated.
constexpr double step_factor(double loss_sum, double norm, const StepBounds& bounds) {
  return step_counts(loss_sum, norm, bounds) ? clip_factor(norm, bounds.max_norm)
                                             : std::numeric_limits<double>::quiet_NaN();
}

// The factor, or not a number if `value` is not finite.
constexpr double factor_if_finite(double factor, double value) {
  constexpr double most = std::numeric_limits<double>::max();
  return value >= -most && value <= most ? factor : std::numeric_limits<double>::quiet_NaN();
}

}  // namespace collie
