#include "kernels/adamw_factors.hpp"

#include <cmath>

#include "kernels/operations.hpp"

namespace collie {

AdamWFactors adamw_factors(const AdamWArguments& a) {
  const auto step = static_cast<double>(a.step);
  return {.decay = static_cast<float>(1 - a.lr * a.weight_decay),
          .beta1 = static_cast<float>(a.beta1),
          .one_minus_beta1 = static_cast<float>(1 - a.beta1),
          .beta2 = static_cast<float>(a.beta2),
          .one_minus_beta2 = static_cast<float>(1 - a.beta2),
          .rate = static_cast<float>(a.lr / (1 - std::pow(a.beta1, step))),
          .root_scale = static_cast<float>(1 / std::sqrt(1 - std::pow(a.beta2, step))),
          .eps = static_cast<float>(a.eps)};
}

double gradient_factor_on_host(const AdamWArguments& a) {
  return a.gradient_factor.defined() ? *a.gradient_factor.data<double>() : 1;
}

}  // namespace collie
