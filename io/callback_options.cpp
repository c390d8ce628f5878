#include "io/callback_options.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>

#include "base/quote.hpp"

namespace collie {
namespace {

constexpr double most = 1e9;

Option most_in_a_row(const std::string& doc) {
  return {.name = "most_in_a_row", .initial = int64_t{5}, .doc = doc, .range = NumberRange::from_to(1, most)};
}

// "eval_loss", or "eval/SET/METRIC" of a set that there is. Which numbers a set gives is known once it is
// read (plan/evaluated_metrics.hpp).
std::pair<std::string, std::string> needs_metric(const std::string& metric, const Config& config) {
  if (metric == "eval_loss")
    return config.data.eval.empty() ? std::pair("data.eval", "missing; it is what is evaluated")
                                    : std::pair("", "");
  for (const EvalSet& set : config.eval.sets)
    if (metric.starts_with("eval/" + set.name + "/")) return {};
  return {"eval.sets", fmt::format("has no set for the metric '{}'; eval_loss, or eval/SET/METRIC as "
                                   "metrics.jsonl has it, is wanted",
                                   shortened(metric))};
}

CallbackDeclaration early_stopping() {
  CallbackDeclaration declared;
  declared.options = {
      {.name = "metric",
       .initial = std::string("eval_loss"),
       .doc = "of an evaluation: eval_loss, or eval/SET/METRIC of eval.sets, as metrics.jsonl has it"},
      {.name = "mode",
       .initial = std::string("auto"),
       .doc = "whether lower or higher values are better; auto: lower, where the name ends with loss or "
              "perplexity",
       .choices = {"auto", "min", "max"}},
      {.name = "patience",
       .initial = int64_t{3},
       .doc = "evaluations one after another without a better value, after which the run ends",
       .range = NumberRange::from_to(1, most)},
      {.name = "min_delta",
       .initial = 0.0,
       .doc = "by how much a value must differ from the best one to be better",
       .range = NumberRange::at_least(0)},
  };
  declared.metric_options = {"metric"};
  return declared;
}

CallbackDeclaration ema() {
  CallbackDeclaration declared;
  declared.options = {
      {.name = "decay",
       .initial = 0.999,
       .doc = "share of the average that stays in each update; the rest is of the new weights",
       .range = {.least = 0, .most = 1, .least_excluded = true, .most_excluded = true}}};
  declared.complete = [](const OptionValues& options, Config& config) {
    config.optimizer.ema_decay = options.number("decay");
  };
  return declared;
}

CallbackDeclaration load_best() {
  CallbackDeclaration declared;
  declared.final_is_best = true;
  declared.needs = [](const OptionValues&, const Config& config) -> std::pair<std::string, std::string> {
    if (config.checkpoint.keep_best > 0) return {};  // for which there must be evaluations
    return {"checkpoint.keep_best", "is 0, so the best checkpoint is not kept; at least 1 is wanted"};
  };
  return declared;
}

CallbackDeclaration non_finite_guard() {
  CallbackDeclaration declared;
  declared.options = {
      {.name = "action",
       .initial = std::string("skip"),
       .doc =
           "skip: the step updates nothing, and the run goes on; stop: the run ends, with the weights from "
           "before the step",
       .choices = {"skip", "stop"}},
      most_in_a_row("steps that are skipped one after another; one more ends the run as failed"),
  };
  declared.needs = [](const OptionValues&, const Config& config) -> std::pair<std::string, std::string> {
    if (!config.optimizer.fused_update) return {};
    return {"optimizer.fused_update",
            "true: layers are updated before the gradient is known to be finite; "
            "false is wanted"};
  };
  return declared;
}

CallbackDeclaration spike_guard() {
  CallbackDeclaration declared;
  declared.options = {
      {.name = "action",
       .initial = std::string("skip"),
       .doc = "skip, stop: as of non_finite_guard",
       .choices = {"skip", "stop"}},
      {.name = "loss_deviations",
       .initial = 6.0,
       .doc = "a loss so many standard deviations above the mean of the last steps' is a spike; 0: none is",
       .range = NumberRange::at_least(0)},
      {.name = "norm_factor",
       .initial = 10.0,
       .doc = "a gradient norm of so many times the mean of the last steps' is a spike; 0: none is",
       .range = NumberRange::at_least(0)},
      {.name = "window",
       .initial = int64_t{100},
       .doc = "the last steps, of those that updated",
       .range = NumberRange::from_to(2, 1e6)},
      {.name = "first_steps",
       .initial = int64_t{50},
       .doc = "steps of the run before any is called a spike; at most the window",
       .range = NumberRange::from_to(2, most)},
      most_in_a_row("spikes that are skipped one after another; the next is taken as it is"),
  };
  declared.complaint = [](const OptionValues& options) -> std::pair<std::string, std::string> {
    if (options.number("loss_deviations") == 0 && options.number("norm_factor") == 0)
      return {"norm_factor", "is 0, and so is loss_deviations; nothing is a spike then"};
    if (options.whole_number("first_steps") > options.whole_number("window"))
      return {"first_steps",
              fmt::format("is {}, but only the last {} steps are remembered; at most so many "
                          "are wanted, or a larger window",
                          options.whole_number("first_steps"), options.whole_number("window"))};
    return {};
  };
  declared.needs = non_finite_guard().needs;
  return declared;
}

CallbackDeclaration time_limit() {
  CallbackDeclaration declared;
  declared.options = {
      {.name = "minutes",
       .initial = 60.0,
       .doc = "of the run. null: until SLURM_JOB_END_TIME, which Slurm sets for a job",
       .range = {.least = 0, .most = most, .least_excluded = true},
       .unset = true},
      {.name = "reserve_minutes",
       .initial = 2.0,
       .doc = "left for the last checkpoint and the final model; the run ends at the step that might not end "
              "before them",
       .range = NumberRange::from_to(0, most)},
  };
  declared.complaint = [](const OptionValues& options) -> std::pair<std::string, std::string> {
    if (options.has("minutes") || std::getenv("SLURM_JOB_END_TIME") != nullptr) return {};
    return {"minutes",
            "missing, and SLURM_JOB_END_TIME is not set, as it is outside of Slurm's jobs; a number "
            "of minutes is wanted"};
  };
  return declared;
}

}  // namespace

Registry<CallbackDeclaration>& callback_declarations() {
  static Registry<CallbackDeclaration>& registry = []() -> Registry<CallbackDeclaration>& {
    static Registry<CallbackDeclaration> all("callback", "callbacks");
    all.add("early_stopping", early_stopping());
    all.add("ema", ema());
    all.add("load_best", load_best());
    all.add("non_finite_guard", non_finite_guard());
    all.add("spike_guard", spike_guard());
    all.add("time_limit", time_limit());
    return all;
  }();
  return registry;
}

OptionValues options_in_force(const CallbackConfig& callback) {
  return with_defaults(callback_declarations().find(callback.name).options, callback.options);
}

void complete_with_callbacks(Config& config) {
  config.optimizer.ema_decay = 0;
  for (const CallbackConfig& each : config.callbacks) {
    if (!callback_declarations().contains(each.name)) continue;
    const CallbackDeclaration declared = callback_declarations().find(each.name);
    if (declared.complete) declared.complete(with_defaults(declared.options, each.options), config);
  }
}

bool final_is_best(const Config& config) {
  return std::any_of(config.callbacks.begin(), config.callbacks.end(), [](const CallbackConfig& each) {
    return callback_declarations().contains(each.name) &&
           callback_declarations().find(each.name).final_is_best;
  });
}

void check_callbacks(const Config& config, const PlaceOfKey& place) {
  for (size_t i = 0; i < config.callbacks.size(); ++i) {
    const CallbackConfig& callback = config.callbacks[i];
    const std::string section = fmt::format("callbacks.{}", i);
    const CallbackDeclaration declared = callback_declarations().find(callback.name, place(section));
    check_given(callback.name, declared, callback.options, section, place);
    const OptionValues in_force = options_in_force(callback);
    check_together(declared, in_force, section, place);
    for (size_t other = 0; other < i; ++other)
      if (config.callbacks[other].name == callback.name)
        throw UserError("{}: found '{}' a second time; one is wanted", place(section), callback.name);
    const auto check = [&](const std::pair<std::string, std::string>& complaint) {
      const auto& [key, wrong] = complaint;
      if (!wrong.empty()) throw UserError("{}: {}, for the callback {}", place(key), wrong, callback.name);
    };
    for (const std::string& option : declared.metric_options)
      check(needs_metric(in_force.text(option), config));
    if (declared.needs) check(declared.needs(in_force, config));
  }
}

}  // namespace collie
