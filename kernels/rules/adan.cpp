#include <cmath>

#include "kernels/rules/rules.hpp"
#include "kernels/rules/scalar_formulas.hpp"

namespace collie {

// The defaults are those of the authors' implementation, and so are the states' names.
ElementwiseRule adan_rule() {
  return {.name = "adan",
          .options = {learning_rate_option(1e-3),
                      {.name = "betas",
                       .initial = std::vector<double>{0.98, 0.92, 0.99},
                       .doc = "decay of the running means of gradients, of their differences and of squares "
                              "(1 minus the paper's)",
                       .range = NumberRange::from_to_below(0, 1)},
                      eps_option(1e-8),
                      weight_decay_option(0.0, "of matrices, see decay_norms_and_biases"),
                      {"no_prox", false, "decay before the step, as AdamW; false: shrink after it"}},
          .with = [](const OptionValues& options) -> ElementwiseUpdateRule {
            const std::vector<double> betas = options.numbers("betas");
            const double eps = options.number("eps"), weight_decay = options.number("weight_decay");
            const bool no_prox = options.flag("no_prox");
            return {scalar::index_of<scalar::Adan>,
                    {{"exp_avg"}, {"exp_avg_sq"}, {"exp_avg_diff"}, {"neg_pre_grad"}},
                    [=](double lr, int64_t count) {
                      using F = scalar::Adan;
                      const auto corrected = [&](size_t i) {
                        return 1 - std::pow(betas[i], static_cast<double>(count));
                      };
                      UpdateFactors f{};
                      const double decay = lr * weight_decay;
                      f[F::decay] = no_prox ? decay : 0;
                      f[F::shrinkage] = no_prox ? 0 : decay / (1 + decay);
                      f[F::beta1] = betas[0];
                      f[F::rest1] = 1 - betas[0];
                      f[F::beta2] = betas[1];
                      f[F::rest2] = 1 - betas[1];
                      f[F::beta3] = betas[2];
                      f[F::rest3] = 1 - betas[2];
                      f[F::rate] = lr / corrected(0);
                      f[F::difference_rate] = lr * betas[1] / corrected(1);
                      f[F::root_scale] = 1 / std::sqrt(corrected(2));
                      f[F::eps] = eps;
                      f[F::known] = count == 1 ? 0 : 1;
                      f[F::minus_one] = -1;
                      return f;
                    }};
          }};
}

}  // namespace collie
