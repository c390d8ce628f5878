// The factors of one AdamW update.
#pragma once

#include <cmath>

#include "kernels/operations.hpp"

namespace collie::cpu {

// What one update multiplies with, computed in double once.
struct AdamWFactors {
  explicit AdamWFactors(const AdamWArguments& a)
      : gradient_scale(static_cast<float>(a.gradient_scale)),
        decay(static_cast<float>(1 - a.lr * a.weight_decay)),
        beta1(static_cast<float>(a.beta1)),
        one_minus_beta1(static_cast<float>(1 - a.beta1)),
        beta2(static_cast<float>(a.beta2)),
        one_minus_beta2(static_cast<float>(1 - a.beta2)),
        rate(static_cast<float>(a.lr / (1 - std::pow(a.beta1, static_cast<double>(a.step))))),
        root_scale(static_cast<float>(1 / std::sqrt(1 - std::pow(a.beta2, static_cast<double>(a.step))))),
        eps(static_cast<float>(a.eps)) {}
  float gradient_scale, decay, beta1, one_minus_beta1, beta2, one_minus_beta2, rate, root_scale, eps;
};

}  // namespace collie::cpu
