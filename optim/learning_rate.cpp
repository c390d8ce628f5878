#include "optim/learning_rate.hpp"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace collie {
namespace {

int64_t share_of(double ratio, int64_t steps) {
  return static_cast<int64_t>(std::ceil(static_cast<double>(steps) * ratio));
}

// The place of a step in the curve behind the warm-up.
struct Place {
  int64_t step, steps;  // from 1 on, of so many; the last one has step == steps
  int64_t warmup;       // steps before
  double progress() const { return static_cast<double>(step) / static_cast<double>(steps); }
};

template <class Curve>
LearningRateSchedule with_warmup(const OptionValues& options, Curve curve) {
  return [options, curve](int64_t step, int64_t total_steps) {
    COLLIE_ASSERT(step >= 1 && step <= total_steps, "step {} of {}", step, total_steps);
    const int64_t warmup = steps_of_warmup(options, total_steps);
    if (step <= warmup) return static_cast<double>(step) / static_cast<double>(warmup);
    return curve(Place{step - warmup, total_steps - warmup, warmup});
  };
}

// From 1 to 0.
double half_cosine(double progress) {
  return 0.5 * (1.0 + std::cos(std::numbers::pi * progress));
}

// From `from` to `to`, as PyTorch writes it.
double annealed(const std::string& strategy, double from, double to, double progress) {
  if (strategy == "linear") return (to - from) * progress + from;
  return to + (from - to) / 2.0 * (1.0 + std::cos(std::numbers::pi * progress));
}

// A part of one_cycle: up to `end`, a step counted from 0, which need not be whole.
struct Phase {
  double end, from, to;
};

std::vector<Phase> phases_of(const OptionValues& options, int64_t total_steps) {
  const double steps = static_cast<double>(total_steps), up = options.number("pct_start") * steps;
  const double first = 1.0 / options.number("div_factor"), last = first / options.number("final_div_factor");
  if (options.flag("three_phase"))
    return {{up - 1, first, 1.0}, {2 * up - 2, 1.0, first}, {steps - 1, first, last}};
  return {{up - 1, first, 1.0}, {steps - 1, 1.0, last}};
}

// From 1 to 0.
double decayed(const std::string& type, double progress) {
  if (type == "cosine") return half_cosine(progress);
  return 1.0 - (type == "linear" ? progress : std::sqrt(progress));
}

}  // namespace

int64_t steps_of_warmup(const OptionValues& options, int64_t total_steps) {
  return options.has("warmup_ratio") ? share_of(options.number("warmup_ratio"), total_steps)
                                     : options.whole_number("warmup_steps");
}

LearningRateSchedule make_constant_schedule(const OptionValues& options) {
  return with_warmup(options, [](const Place&) { return 1.0; });
}

LearningRateSchedule make_linear_schedule(const OptionValues& options) {
  return with_warmup(options, [least = options.number("min_lr_ratio")](const Place& at) {
    return least * at.progress() + (1.0 - at.progress());  // exactly `least` at 1
  });
}

LearningRateSchedule make_cosine_schedule(const OptionValues& options) {
  return with_warmup(options, [least = options.number("min_lr_ratio")](const Place& at) {
    return least + (1.0 - least) * 0.5 * (1.0 + std::cos(std::numbers::pi * at.progress()));
  });
}

// The place within a cycle is found in whole numbers, so that a restart is at its very step.
LearningRateSchedule make_cosine_with_restarts_schedule(const OptionValues& options) {
  return with_warmup(options, [cycles = options.whole_number("num_cycles"),
                               least = options.number("min_lr_ratio")](const Place& at) {
    if (at.step == at.steps) return least;
    const Place in_cycle{at.step * cycles % at.steps, at.steps, 0};
    return least + (1.0 - least) * half_cosine(in_cycle.progress());
  });
}

LearningRateSchedule make_polynomial_schedule(const OptionValues& options) {
  return with_warmup(
      options, [power = options.number("power"), least = options.number("min_lr_ratio")](const Place& at) {
        return least + (1.0 - least) * std::pow(1.0 - at.progress(), power);
      });
}

LearningRateSchedule make_inverse_sqrt_schedule(const OptionValues& options) {
  constexpr int64_t without_warmup = 10000;
  return with_warmup(options, [options](const Place& at) {
    const int64_t by_default = at.warmup > 0 ? at.warmup : without_warmup;
    const int64_t timescale = options.has("timescale") ? options.whole_number("timescale") : by_default;
    return 1.0 / std::sqrt(static_cast<double>(at.step + timescale) / static_cast<double>(timescale));
  });
}

LearningRateSchedule make_one_cycle_schedule(const OptionValues& options) {
  return [options](int64_t step, int64_t total_steps) {
    COLLIE_ASSERT(step >= 1 && step <= total_steps, "step {} of {}", step, total_steps);
    const auto at = static_cast<double>(step - 1);
    const std::vector<Phase> phases = phases_of(options, total_steps);
    double begin = 0;
    auto phase = phases.begin();
    for (; at > phase->end && phase + 1 != phases.end(); ++phase) begin = phase->end;
    // A phase of no length, which PyTorch cannot do, is at its end.
    const double progress = phase->end > begin ? (at - begin) / (phase->end - begin) : 1.0;
    return annealed(options.text("anneal_strategy"), phase->from, phase->to, progress);
  };
}

LearningRateSchedule make_warmup_stable_decay_schedule(const OptionValues& options) {
  return with_warmup(options, [options](const Place& at) {
    const double least = options.number("min_lr_ratio");
    const int64_t asked = options.has("decay_ratio")
                              ? share_of(options.number("decay_ratio"), at.warmup + at.steps)
                              : options.whole_number("decay_steps");
    const int64_t decay = std::min(asked, at.steps), stable = at.steps - decay;
    if (at.step <= stable) return 1.0;
    const Place in_decay{at.step - stable, decay, 0};
    return least + (1.0 - least) * decayed(options.text("decay_type"), in_decay.progress());
  });
}

LearningRateSchedule make_step_schedule(const OptionValues& options) {
  return with_warmup(
      options, [size = options.whole_number("step_size"), gamma = options.number("gamma")](const Place& at) {
        return std::pow(gamma, static_cast<double>((at.step - 1) / size));
      });
}

}  // namespace collie
