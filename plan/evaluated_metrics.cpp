#include "plan/evaluated_metrics.hpp"

#include <fmt/ranges.h>

#include <algorithm>

#include "base/error.hpp"
#include "base/nearest_name.hpp"
#include "base/quote.hpp"
#include "io/callback_options.hpp"
#include "plan/evaluation_sets.hpp"
#include "runtime/set_core.hpp"

namespace collie {
namespace {

constexpr size_t most_shown = 20;  // names in a message

const PlannedSet* set_of(const RunPlan& plan, const std::string& metric) {
  for (const auto& planned : plan.evaluation_sets)
    if (metric.starts_with(evaluated_metric_prefix + planned->set.name + "/")) return planned.get();
  return nullptr;
}

// The numbers that the set's metrics will give. There may be one for each class, and a class is an option of
// a sample.
std::vector<NamedNumber> numbers_of(const PlannedSet& planned) {
  SetScores scores(planned.set.metrics);
  const auto add = [&](size_t options, int64_t label) {
    if (options > 0) scores.add(ClassSample{static_cast<int64_t>(options) - 1, label, {}});
  };
  for (const LikelihoodSample& sample : planned.likelihoods) add(sample.options.size(), sample.label);
  for (const TextTask& task : planned.texts) add(task.options.size(), task.label);
  return scores.results();
}

std::vector<std::string> evaluated_names(const RunPlan& plan) {
  std::vector<std::string> names;
  if (plan.evaluation_order) names.emplace_back(eval_loss_name);
  for (const auto& planned : plan.evaluation_sets)
    for (const NamedNumber& number : numbers_of(*planned))
      names.push_back(evaluated_metric_prefix + planned->set.name + "/" + number.name);
  return names;
}

}  // namespace

void check_evaluated_metric(const RunPlan& plan, const std::string& metric, const std::string& place) {
  std::vector<std::string> names = evaluated_names(plan);
  if (std::find(names.begin(), names.end(), metric) != names.end()) return;
  if (names.empty())
    throw UserError("{}: is '{}', but this run evaluates nothing: there is neither data.eval nor eval.sets",
                    place, shortened(metric));
  const auto nearest = nearest_name(metric, names);
  if (names.size() > most_shown) {
    names.resize(most_shown);
    names.emplace_back("...");
  }
  throw UserError("{}: found '{}', which no evaluation gives{}; {} {}", place, shortened(metric),
                  nearest ? fmt::format("; the nearest is {}", *nearest) : "",
                  names.size() == 1 ? "there is" : "there are", fmt::join(names, ", "));
}

void check_metrics_of_callbacks(const RunPlan& plan) {
  for (size_t i = 0; i < plan.config.callbacks.size(); ++i) {
    const CallbackConfig& callback = plan.config.callbacks[i];
    const OptionValues in_force = options_in_force(callback);
    for (const std::string& option : callback_declarations().find(callback.name).metric_options)
      check_evaluated_metric(plan, in_force.text(option),
                             plan.config.file.place(fmt::format("callbacks.{}.{}", i, option)));
  }
}

BestMetric best_metric_of(const RunPlan& plan) {
  const CheckpointSection& keep = plan.config.checkpoint;
  BestMetric best{keep.best_metric, is_higher_better(keep.best_metric, keep.best_mode), nullptr};
  if (const PlannedSet* planned = set_of(plan, keep.best_metric))
    best.data = planned->fingerprint;
  else if (plan.evaluation_order)
    best.data = {{"contents", plan.evaluation_order->dataset().fingerprint()},
                 {"sequence_length", plan.config.data.sequence_length},
                 {"packing", plan.config.data.packing}};
  return best;
}

}  // namespace collie
