#include <cmath>

#include "kernels/rules/rules.hpp"
#include "kernels/rules/scalar_formulas.hpp"

namespace collie {

// The defaults are those of the engine; the betas are what language models are trained with (Touvron et al.,
// arXiv 2307.09288).
ElementwiseRule adamw_rule() {
  return {.name = "adamw",
          .options = {learning_rate_option(3e-4), betas_option(0.9, 0.95), eps_option(1e-8),
                      weight_decay_option(0.1, "of all parameters")},
          .with = [](const OptionValues& options) -> ElementwiseUpdateRule {
            const double beta1 = options.numbers("betas")[0], beta2 = options.numbers("betas")[1];
            const double eps = options.number("eps"), weight_decay = options.number("weight_decay");
            return {scalar::index_of<scalar::AdamW>,
                    {{"exp_avg"}, {"exp_avg_sq"}},
                    [=](double lr, int64_t count) {
                      using F = scalar::AdamW;
                      const auto step = static_cast<double>(count);
                      UpdateFactors f{};
                      f[F::decay] = 1 - lr * weight_decay;
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
