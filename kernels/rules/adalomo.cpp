#include "kernels/rules/factored_options.hpp"
#include "kernels/rules/rules.hpp"

namespace collie {

// AdaLomo (Lv et al., arXiv 2310.10195): Adafactor's factored moments and its bound of updates (there:
// grouped update normalisation), with a rate of its own. The defaults are those of the paper's own
// implementation.
FactoredRule adalomo_rule() {
  return {
      .name = "adalomo",
      .options = {learning_rate_option(1e-3), factored_eps_option(), clip_threshold_option(),
                  decay_rate_option(),
                  weight_decay_option(0.0,
                                      "times the rate in force; of matrices, see decay_norms_and_biases")},
      .with = [](const OptionValues& options) -> FactoredUpdateRule {
        return {0, [of = FactoredOptions(options)](double lr, int64_t step) { return of.step(lr, step); }};
      },
      .keys = {.master = false, .rounding = "stochastic", .fused_update = true}};
}

}  // namespace collie
