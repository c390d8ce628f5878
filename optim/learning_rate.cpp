#include "optim/learning_rate.hpp"

#include <cmath>
#include <numbers>

namespace collie {
namespace {

void check(const LearningRateConfig& config) {
  if (config.warmup_steps < 0)
    throw UserError("lr_scheduler.warmup_steps: {} found; it must not be negative", config.warmup_steps);
  if (!(config.min_lr_ratio >= 0.0 && config.min_lr_ratio <= 1.0))
    throw UserError("lr_scheduler.min_lr_ratio: {} found; it must be from 0 to 1", config.min_lr_ratio);
}

// `curve` gives the factor at a progress from 0 (end of the warm-up) to 1 (last step).
template <class Curve>
LearningRateSchedule with_warmup(const LearningRateConfig& config, Curve curve) {
  check(config);
  return [warmup = config.warmup_steps, curve](int64_t step, int64_t total_steps) {
    COLLIE_ASSERT(step >= 1 && step <= total_steps, "step {} of {}", step, total_steps);
    if (step <= warmup) return static_cast<double>(step) / static_cast<double>(warmup);
    return curve(static_cast<double>(step - warmup) / static_cast<double>(total_steps - warmup));
  };
}

}  // namespace

LearningRateSchedule make_constant_schedule(const LearningRateConfig& config) {
  return with_warmup(config, [](double) { return 1.0; });
}

LearningRateSchedule make_linear_schedule(const LearningRateConfig& config) {
  return with_warmup(config, [least = config.min_lr_ratio](double progress) {
    return least * progress + (1.0 - progress);  // exactly `least` at 1
  });
}

LearningRateSchedule make_cosine_schedule(const LearningRateConfig& config) {
  return with_warmup(config, [least = config.min_lr_ratio](double progress) {
    return least + (1.0 - least) * 0.5 * (1.0 + std::cos(std::numbers::pi * progress));
  });
}

}  // namespace collie
