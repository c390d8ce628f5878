#include "kernels/rules/adam_factors.hpp"
#include "kernels/rules/rules.hpp"

namespace collie {

// The defaults are PyTorch's.
ElementwiseRule adam_rule() {
  return {.name = "adam",
          .options = {learning_rate_option(1e-3), betas_option(0.9, 0.999), eps_option(1e-8),
                      weight_decay_option(0.0, "added to the gradient (L2)")},
          .with = [](const OptionValues& options) -> ElementwiseUpdateRule {
            return {scalar::index_of<scalar::Adam>,
                    {{"exp_avg"}, {"exp_avg_sq"}},
                    [of = AdamOptions(options)](double lr, int64_t count) {
                      return adam_factors<scalar::Adam>(of, of.weight_decay, lr, count);
                    }};
          }};
}

}  // namespace collie
