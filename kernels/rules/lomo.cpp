#include "kernels/rules/rules.hpp"
#include "kernels/rules/scalar_formulas.hpp"

namespace collie {

// The defaults are those of the paper's own implementation. What makes it LOMO is that it updates inside
// backward (optimizer.fused_update), and keeps neither gradients nor states nor masters.
ElementwiseRule lomo_rule() {
  return {.name = "lomo",
          .options = {learning_rate_option(1e-3),
                      weight_decay_option(0.0, "of matrices, see decay_norms_and_biases")},
          .with = [](const OptionValues& options) -> ElementwiseUpdateRule {
            const double weight_decay = options.number("weight_decay");
            return {scalar::index_of<scalar::Lomo>, {}, [=](double lr, int64_t) {
                      using F = scalar::Lomo;
                      UpdateFactors f{};
                      f[F::decay] = 1 - lr * weight_decay;
                      f[F::rate] = lr;
                      return f;
                    }};
          },
          .keys = {.master = false, .rounding = "stochastic", .fused_update = true}};
}

}  // namespace collie
