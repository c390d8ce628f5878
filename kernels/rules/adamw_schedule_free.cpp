#include <algorithm>
#include <cmath>

#include "kernels/rules/adam_factors.hpp"
#include "kernels/rules/rules.hpp"

namespace collie {

namespace {

using Free = scalar::AdamWScheduleFree;

// Of the rates so far. The share is that of the last update in the average: its weight, divided by all
// weights.
enum Remembered { highest_rate, sum_of_weights, share, remembered };

// The weight of update k is k^r times the highest rate so far to the power of weight_lr_power, as in the
// authors' package: with a warm-up, early updates count less.
void remember(UpdateMemory& memory, double lr, int64_t step, double r, double power) {
  memory[highest_rate] = std::max(memory[highest_rate], lr);
  const double weight = std::pow(static_cast<double>(step), r) * std::pow(memory[highest_rate], power);
  memory[sum_of_weights] += weight;
  memory[share] = memory[sum_of_weights] > 0 ? weight / memory[sum_of_weights] : 0;
}

UpdateFactors factors_before_memory(const AdamOptions& options, double lr, int64_t step) {
  UpdateFactors f{};
  f[Free::decay] = options.weight_decay;
  f[Free::beta2] = options.beta2;
  f[Free::rest2] = 1 - options.beta2;
  f[Free::root_scale] = 1 / std::sqrt(1 - std::pow(options.beta2, static_cast<double>(step)));
  f[Free::eps] = options.eps;
  f[Free::rate] = lr;
  return f;
}

ElementwiseUpdateRule rule_with(const OptionValues& values) {
  const AdamOptions options(values);
  const double beta1 = options.beta1, r = values.number("r"), power = values.number("weight_lr_power");
  return {scalar::index_of<Free>,
          {{.name = "z", .starts_as_weight = true, .wide = true}, {.name = "exp_avg_sq"}},
          [=](double lr, int64_t step) { return factors_before_memory(options, lr, step); },
          {},
          UpdateMemory(remembered, 0.0),
          [=](UpdateMemory& memory, double lr, int64_t step) { remember(memory, lr, step, r, power); },
          [=](const UpdateMemory& memory, UpdateFactors& f) {
            f[Free::share] = memory[share];
            f[Free::pull] = f[Free::rate] * (1 - beta1 * (1 - memory[share]));
          },
          WeightAverage{"z", 1 / beta1, 1 - 1 / beta1}};
}

}  // namespace

// The defaults are the authors' (the package schedulefree). Its warmup_steps is lr_scheduler.warmup_steps
// here: the rate of step t is lr · t / warmup_steps in both.
ElementwiseRule adamw_schedule_free_rule() {
  Option betas = betas_option(0.9, 0.999);
  betas.doc = "share of the average in the weights that are trained, above 0; decay of the mean of squares";
  return {.name = "adamw_schedule_free",
          .options = {learning_rate_option(2.5e-3),
                      betas,
                      eps_option(1e-8),
                      weight_decay_option(0.0, "of matrices, see decay_norms_and_biases"),
                      {"r", 0.0, "update k counts k^r times in the average", NumberRange::at_least(0)},
                      {"weight_lr_power", 2.0, "and its highest rate so far to this power",
                       NumberRange::at_least(0)}},
          .with = rule_with,
          .complaint = [](const OptionValues& options) -> std::pair<std::string, std::string> {
            if (options.numbers("betas")[0] > 0) return {};
            return {"betas",
                    "found 0 as the first number; the average follows from the weights only where it "
                    "is above 0"};
          },
          .keys = {.scheduler = "constant"}};
}

}  // namespace collie
