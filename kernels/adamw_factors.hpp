// The factors of one AdamW update, for every device.
#pragma once

namespace collie {

struct AdamWArguments;

// The factors of one update, computed once, in double. g' is the gradient times the gradient_factor:
// m = beta1 · m + one_minus_beta1 · g'; v = beta2 · v + one_minus_beta2 · g'²;
// w = decay · w - rate · m / (root_scale · sqrt(v) + eps)
struct AdamWFactors {
  float decay, beta1, one_minus_beta1, beta2, one_minus_beta2, rate, root_scale, eps;
};
AdamWFactors adamw_factors(const AdamWArguments& arguments);
// The gradient_factor, for tables whose host can read it; 1 if there is none.
double gradient_factor_on_host(const AdamWArguments& arguments);

}  // namespace collie
