// What checkpoints say of their evaluation, and which of them are the best. The values stand in the
// checkpoints' own manifests, so they come and go with the checkpoints.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

namespace collie {

inline constexpr const char* eval_loss_name = "eval_loss";  // of data.eval

// What checkpoints are compared by (checkpoint.best_metric), and on what it is measured.
struct BestMetric {
  std::string name;  // eval_loss_name, or "eval/SET/METRIC"
  bool higher_is_better = false;
  nlohmann::json data;  // what is evaluated; values on other data cannot be compared
  bool operator==(const BestMetric&) const = default;
};

struct EvaluatedCheckpoint {
  int64_t step = 0;
  double value = 0;  // finite
  BestMetric metric;
};

// `mode`: min, max, or auto: lower values are better of a loss or a perplexity, higher ones of all others.
bool is_higher_better(const std::string& metric, const std::string& mode);

// The entry of Manifest::metadata for an evaluation, under evaluation_key.
inline constexpr const char* evaluation_key = "evaluation";
nlohmann::json evaluation_entry(double value, const BestMetric& metric);

// Reads the entry; none if the metadata have none. Throws UserError naming `place` if it is not as written.
std::optional<EvaluatedCheckpoint> evaluation_in(const nlohmann::json& metadata, int64_t step,
                                                 const std::string& place);

// Those of the checkpoints in `folder` that were evaluated, by step. Only their manifests are read and
// checked. A checkpoint whose manifest cannot be read is none; `defects` gets the reasons.
std::vector<EvaluatedCheckpoint> evaluated_checkpoints(const std::string& folder,
                                                       std::vector<std::string>* defects = nullptr);

// Those that have the metric of the newest, on the same data, from the best to the worst. Of two that are
// equal the earlier one is better.
std::vector<EvaluatedCheckpoint> best_first(const std::vector<EvaluatedCheckpoint>& by_step);

}  // namespace collie
