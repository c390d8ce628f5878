// The factors of Adam and AdamW, which differ only in what decay means.
#pragma once

#include <cmath>

#include "kernels/rules/scalar_formulas.hpp"
#include "kernels/update_rule.hpp"

namespace collie {

struct AdamOptions {
  double beta1, beta2, eps, weight_decay;

  explicit AdamOptions(const OptionValues& options)
      : beta1(options.numbers("betas")[0]),
        beta2(options.numbers("betas")[1]),
        eps(options.number("eps")),
        weight_decay(options.number("weight_decay")) {}
};

// Of update `count` (from 1), in the order of the formula F's Factor.
template <class F>
UpdateFactors adam_factors(const AdamOptions& options, double decay, double lr, int64_t count) {
  const auto step = static_cast<double>(count);
  UpdateFactors f{};
  f[F::decay] = decay;
  f[F::beta1] = options.beta1;
  f[F::rest1] = 1 - options.beta1;
  f[F::beta2] = options.beta2;
  f[F::rest2] = 1 - options.beta2;
  f[F::rate] = lr / (1 - std::pow(options.beta1, step));
  f[F::root_scale] = 1 / std::sqrt(1 - std::pow(options.beta2, step));
  f[F::eps] = options.eps;
  return f;
}

}  // namespace collie
