// Cases of metrics as JSON, for the golden file and for scripts/check_metrics.sh.
//
// A case is {"metric", "options", "samples"}. A sample is {"text", "references"}, {"predicted", "label"} or
// {"loss", "tokens", "right_tokens"}.
#pragma once

#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "metrics/metric.hpp"

namespace collie::test {

MetricConfig metric_of(const nlohmann::json& metric_case);

// The sums of each sample.
std::vector<MetricSums> sums_of_samples(const Metric& metric, const nlohmann::json& samples);

MetricSums sum_of(const std::vector<MetricSums>& all);

// The result by names.
std::map<std::string, double> numbers_of(const Metric& metric, const MetricSums& sums);

}  // namespace collie::test
