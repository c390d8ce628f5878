// Options that rules with factored second moments share.
#pragma once

#include <cmath>

#include "kernels/update_rule.hpp"

namespace collie {

inline Option factored_eps_option() {
  return {"eps", std::vector<double>{1e-30, 1e-3}, "added to squares; the least root mean square of weights",
          NumberRange::above(0)};
}
inline Option clip_threshold_option() {
  return {"clip_threshold", 1.0, "the highest root mean square of an update before the rate",
          NumberRange::above(0)};
}
inline Option decay_rate_option() {
  return {"decay_rate", -0.8, "of the moments 1 - step^decay_rate is kept",
          NumberRange::from_to_below(-1, 0)};
}

struct FactoredOptions {
  double eps, least_scale, clip_threshold, decay_rate, weight_decay;

  explicit FactoredOptions(const OptionValues& options)
      : eps(options.numbers("eps")[0]),
        least_scale(options.numbers("eps")[1]),
        clip_threshold(options.number("clip_threshold")),
        decay_rate(options.number("decay_rate")),
        weight_decay(options.number("weight_decay")) {}

  // Update `count` (from 1) at that rate, of the weights' root mean square.
  FactoredStep step(double rate, int64_t count) const {
    return {.beta = 1 - std::pow(static_cast<double>(count), decay_rate),
            .eps = eps,
            .clip_threshold = clip_threshold,
            .rate = rate,
            .least_scale = least_scale,
            .weight_decay = weight_decay};
  }
};

}  // namespace collie
