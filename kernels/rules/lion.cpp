#include "kernels/rules/rules.hpp"
#include "kernels/rules/scalar_formulas.hpp"

namespace collie {

// The defaults are those of the paper's own implementation.
ElementwiseRule lion_rule() {
  return {.name = "lion",
          .options = {learning_rate_option(1e-4), betas_option(0.9, 0.99),
                      weight_decay_option(0.0, "as of adamw")},
          .with = [](const OptionValues& options) -> ElementwiseUpdateRule {
            const double beta1 = options.numbers("betas")[0], beta2 = options.numbers("betas")[1];
            const double weight_decay = options.number("weight_decay");
            return {scalar::index_of<scalar::Lion>, {{"exp_avg"}}, [=](double lr, int64_t) {
                      using F = scalar::Lion;
                      UpdateFactors f{};
                      f[F::decay] = 1 - lr * weight_decay;
                      f[F::beta1] = beta1;
                      f[F::rest1] = 1 - beta1;
                      f[F::beta2] = beta2;
                      f[F::rest2] = 1 - beta2;
                      f[F::rate] = lr;
                      return f;
                    }};
          }};
}

}  // namespace collie
