#include "kernels/rules/adam_factors.hpp"
#include "kernels/rules/rules.hpp"

namespace collie {

// The defaults are those of the engine; the betas are what language models are trained with (Touvron et al.,
// arXiv 2307.09288).
ElementwiseRule adamw_rule() {
  return {.name = "adamw",
          .options = {learning_rate_option(3e-4), betas_option(0.9, 0.95), eps_option(1e-8),
                      weight_decay_option(
                          0.1, "decoupled from the gradient; of matrices, see decay_norms_and_biases")},
          .with = [](const OptionValues& options) -> ElementwiseUpdateRule {
            return {scalar::index_of<scalar::AdamW>,
                    {{"exp_avg"}, {"exp_avg_sq"}},
                    [of = AdamOptions(options)](double lr, int64_t count) {
                      return adam_factors<scalar::AdamW>(of, 1 - lr * of.weight_decay, lr, count);
                    }};
          }};
}

}  // namespace collie
