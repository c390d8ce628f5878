// The metrics by which a run judges itself: checkpoint.best_metric, and what callbacks watch.
#pragma once

#include <string>

#include "io/evaluated_checkpoints.hpp"
#include "plan/run_plan.hpp"

namespace collie {

// Throws UserError that begins with `place` if no evaluation of the plan gives `metric`: "eval_loss" without
// data.eval, or "eval/SET/METRIC" where there is no such set, or its metrics have no such number. The message
// has the nearest.
void check_evaluated_metric(const RunPlan& plan, const std::string& metric, const std::string& place);

// The same of every metric that a callback watches (CallbackDeclaration::metric_options).
void check_metrics_of_callbacks(const RunPlan& plan);

// checkpoint.best_metric, and what it is measured on: the contents of data.eval, or of its set.
BestMetric best_metric_of(const RunPlan& plan);

}  // namespace collie
