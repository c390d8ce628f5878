#include <cmath>

#include "kernels/rules/rules.hpp"
#include "kernels/rules/scalar_formulas.hpp"

namespace collie {

// The defaults are PyTorch's.
ElementwiseRule adam_rule() {
  return {.name = "adam",
          .options = {learning_rate_option(1e-3), betas_option(0.9, 0.999), eps_option(1e-8),
                      weight_decay_option(0.0, "added to the gradient (L2)")},
          .with = [](const OptionValues& options) -> ElementwiseUpdateRule {
            const double beta1 = options.numbers("betas")[0], beta2 = options.numbers("betas")[1];
            const double eps = options.number("eps"), decay = options.number("weight_decay");
            return {
                scalar::index_of<scalar::Adam>, {{"exp_avg"}, {"exp_avg_sq"}}, [=](double lr, int64_t count) {
                  using F = scalar::Adam;
                  const auto step = static_cast<double>(count);
                  UpdateFactors f{};
                  f[F::decay] = decay;
                  f[F::beta1] = beta1;
                  f[F::rest1] = 1 - beta1;
                  f[F::beta2] = beta2;
                  f[F::rest2] = 1 - beta2;
                  f[F::rate] = lr / (1 - std::pow(beta1, step));
                  f[F::root_scale] = 1 / std::sqrt(1 - std::pow(beta2, step));
                  f[F::eps] = eps;
                  return f;
                }};
          }};
}

}  // namespace collie
