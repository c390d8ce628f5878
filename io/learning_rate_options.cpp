#include "io/learning_rate_options.hpp"

#include <fmt/format.h>

namespace collie {
namespace {

// As of train.steps.
constexpr double most_steps = 1e9;

NumberRange from_to(double least, double most) {
  return {least, most};
}

NumberRange share() {
  return {.least = 0, .most = 1, .least_excluded = true};
}

std::vector<Option> with_warmup(const std::vector<Option>& options) {
  std::vector<Option> all = warmup_options();
  all.insert(all.end(), options.begin(), options.end());
  return all;
}

Option min_lr_ratio() {
  return {.name = "min_lr_ratio",
          .initial = 0.1,
          .doc = "of lr, reached at the last step",
          .range = from_to(0, 1)};
}

Option num_cycles() {
  return {.name = "num_cycles",
          .initial = int64_t{1},
          .doc = "cosines one after another, each from lr",
          .range = from_to(1, most_steps)};
}

Option power() {
  return {.name = "power",
          .initial = 1.0,
          .doc = "of what is left of the run; 1.0: a straight line",
          .range = NumberRange::above(0)};
}

Option timescale() {
  return {.name = "timescale",
          .initial = int64_t{0},
          .doc =
              "steps after the warm-up's end at which the rate is lr / sqrt(2); null: as many as the warm-up "
              "has, and 10000 without one",
          .range = from_to(1, most_steps),
          .unset = true};
}

std::vector<Option> one_cycle() {
  return {{.name = "pct_start",
           .initial = 0.3,
           .doc = "the share of all steps in which the rate rises to lr",
           .range = from_to(0, 1)},
          {.name = "anneal_strategy",
           .initial = "cos",
           .doc = "how the rate rises and falls",
           .choices = {"cos", "linear"}},
          {.name = "div_factor",
           .initial = 25.0,
           .doc = "the first step's rate is lr / div_factor",
           .range = NumberRange::at_least(1)},
          {.name = "final_div_factor",
           .initial = 1e4,
           .doc = "the last step's rate is the first one's / final_div_factor",
           .range = NumberRange::at_least(1)},
          {.name = "three_phase",
           .initial = false,
           .doc = "the rate falls to the first step's as it has risen, and only then to the last one's"}};
}

std::pair<std::string, std::string> one_cycle_complaint(const OptionValues& options) {
  const double start = options.number("pct_start");
  if (!options.flag("three_phase") || start <= 0.5) return {};
  return {"pct_start",
          fmt::format("found {} with three_phase; at most 0.5 is wanted, as the rate falls for as "
                      "long as it has risen",
                      start)};
}

std::vector<Option> stable_decay() {
  return with_warmup(
      {{.name = "decay_steps",
        .initial = int64_t{0},
        .doc = "the last steps, in which the rate falls; those after the warm-up if they are fewer",
        .range = from_to(1, most_steps),
        .aliases = {"num_decay_steps"},
        .instead_of = "decay_ratio",
        .unset = true},
       {.name = "decay_ratio",
        .initial = 0.1,
        .doc = "the same as a share of all steps, rounded up",
        .range = share(),
        .instead_of = "decay_steps"},
       {.name = "decay_type",
        .initial = "cosine",
        .doc = "how it falls",
        .choices = {"linear", "cosine", "1-sqrt"}},
       min_lr_ratio()});
}

std::vector<Option> steps() {
  return with_warmup(
      {{.name = "step_size",
        .initial = int64_t{0},
        .doc = "must be given; steps for which a rate is kept",
        .range = from_to(1, most_steps),
        .unset = true},
       {.name = "gamma", .initial = 0.1, .doc = "multiplies the rate after them", .range = share()}});
}

std::pair<std::string, std::string> steps_complaint(const OptionValues& options) {
  if (options.has("step_size")) return {};
  return {"step_size", "missing; the number of steps for which a rate is kept is wanted"};
}

}  // namespace

std::vector<Option> warmup_options() {
  return {{.name = "warmup_steps",
           .initial = int64_t{20},
           .doc = "steps in which the rate rises to lr",
           .range = from_to(0, most_steps),
           .aliases = {"num_warmup_steps"},
           .instead_of = "warmup_ratio"},
          {.name = "warmup_ratio",
           .initial = 0.0,
           .doc = "the same as a share of all steps, rounded up; instead of warmup_steps",
           .range = from_to(0, 1),
           .instead_of = "warmup_steps",
           .unset = true}};
}

Registry<OptionDeclaration>& learning_rate_declarations() {
  static Registry<OptionDeclaration>& registry = []() -> Registry<OptionDeclaration>& {
    static Registry<OptionDeclaration> all("learning-rate schedule", "lr_scheduler.name");
    all.add("constant", {with_warmup({})});
    all.add("linear", {with_warmup({min_lr_ratio()})});
    all.add("cosine", {with_warmup({min_lr_ratio()})});
    all.add("cosine_with_restarts", {with_warmup({num_cycles(), min_lr_ratio()})});
    all.add("polynomial", {with_warmup({power(), min_lr_ratio()})});
    all.add("inverse_sqrt", {with_warmup({timescale()})});
    all.add("one_cycle", {one_cycle(), one_cycle_complaint});
    all.add("warmup_stable_decay", {stable_decay()});
    all.add("step", {steps(), steps_complaint});
    return all;
  }();
  return registry;
}

OptionValues options_in_force(const LearningRateConfig& schedule) {
  return with_defaults(learning_rate_declarations().find(schedule.name).options, schedule.options);
}

bool LearningRateConfig::operator==(const LearningRateConfig& other) const {
  if (name != other.name) return false;
  if (!learning_rate_declarations().contains(name)) return options == other.options;
  return options_in_force(*this) == options_in_force(other);
}

void check_options(const LearningRateConfig& schedule, const PlaceOfKey& place) {
  const std::string section = "lr_scheduler";
  const OptionDeclaration declared =
      learning_rate_declarations().find(schedule.name, place(section + ".name"));
  check_given(schedule.name, declared, schedule.options, section, place);
  check_together(declared, options_in_force(schedule), section, place);
}

}  // namespace collie
