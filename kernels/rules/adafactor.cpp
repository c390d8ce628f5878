#include <algorithm>
#include <cmath>

#include "kernels/rules/factored_options.hpp"
#include "kernels/rules/rules.hpp"

namespace collie {

// Adafactor (Shazeer & Stern, arXiv 1804.04235) with the defaults of the paper's section 9. Its rate is
// min(lr, 1 / sqrt(step)) of the weights' root mean square; lr is 1e-2 there. Weight decay and the running
// mean of updates are as Hugging Face transformers has them.
FactoredRule adafactor_rule() {
  return {.name = "adafactor",
          .options = {learning_rate_option(1e-2),
                      factored_eps_option(),
                      clip_threshold_option(),
                      decay_rate_option(),
                      {"beta1", 0.0, "decay of the running mean of updates; 0: no such state is kept",
                       NumberRange::from_to_below(0, 1)},
                      weight_decay_option(0.0,
                                          "times the rate in force; of matrices, see decay_norms_and_biases"),
                      {"scale_parameter", true, "the rate is of the weights' root mean square"},
                      {"relative_step", true, "the rate is at most 1 / sqrt(step)"}},
          .with = [](const OptionValues& options) -> FactoredUpdateRule {
            const bool scaled = options.flag("scale_parameter"), relative = options.flag("relative_step");
            return {options.number("beta1"), [=, of = FactoredOptions(options),
                                              beta1 = options.number("beta1")](double lr, int64_t step) {
                      const double most = relative ? 1 / std::sqrt(static_cast<double>(step)) : lr;
                      FactoredStep by = of.step(std::min(lr, most), step);
                      if (!scaled) by.least_scale = -1;
                      by.momentum = beta1;
                      return by;
                    }};
          }};
}

}  // namespace collie
