#include "io/evaluated_checkpoints.hpp"

#include <algorithm>
#include <cmath>
#include <filesystem>

#include "base/error.hpp"
#include "io/checkpoint_files.hpp"
#include "io/checkpoint_manifest.hpp"
#include "io/checkpoint_name.hpp"

namespace collie {

using nlohmann::json;

bool is_higher_better(const std::string& metric, const std::string& mode) {
  if (mode != "auto") return mode == "max";
  return !metric.ends_with("loss") && !metric.ends_with("perplexity");
}

// A loss has the entry that earlier versions wrote.
json evaluation_entry(double value, const BestMetric& metric) {
  if (metric.name == eval_loss_name && !metric.higher_is_better)
    return {{eval_loss_name, value}, {"data", metric.data}};
  return {{"metric", metric.name},
          {"higher_is_better", metric.higher_is_better},
          {"value", value},
          {"data", metric.data}};
}

std::optional<EvaluatedCheckpoint> evaluation_in(const json& metadata, int64_t step,
                                                 const std::string& place) {
  const auto found = metadata.find(evaluation_key);
  if (found == metadata.end()) return std::nullopt;
  try {
    EvaluatedCheckpoint evaluated{step, 0, {eval_loss_name, false, found->at("data")}};
    if (found->contains("metric")) {
      evaluated.metric.name = found->at("metric").get<std::string>();
      evaluated.metric.higher_is_better = found->at("higher_is_better").get<bool>();
    }
    evaluated.value = found->at(found->contains("metric") ? "value" : eval_loss_name).get<double>();
    if (std::isfinite(evaluated.value)) return evaluated;
  } catch (const json::exception&) {
  }
  throw UserError("{}: its \"{}\" is {}; a metric's value and the data are wanted", place, evaluation_key,
                  found->dump(-1, ' ', false, json::error_handler_t::replace).substr(0, 100));
}

std::vector<EvaluatedCheckpoint> evaluated_checkpoints(const std::string& folder,
                                                       std::vector<std::string>* defects) {
  std::vector<EvaluatedCheckpoint> all;
  for (const int64_t step : checkpoint_steps(folder)) {
    const std::string place = (std::filesystem::path(folder) / checkpoint_name(step)).string();
    try {
      if (auto evaluated = evaluation_in(read_manifest(place).metadata, step, place))
        all.push_back(std::move(*evaluated));
    } catch (const UserError& error) {
      if (defects != nullptr) defects->push_back(error.what());
    }
  }
  return all;
}

std::vector<EvaluatedCheckpoint> best_first(const std::vector<EvaluatedCheckpoint>& by_step) {
  std::vector<EvaluatedCheckpoint> best;
  for (const EvaluatedCheckpoint& each : by_step)
    if (each.metric == by_step.back().metric) best.push_back(each);
  std::stable_sort(best.begin(), best.end(), [](const auto& a, const auto& b) {
    return a.metric.higher_is_better ? a.value > b.value : a.value < b.value;
  });
  return best;
}

}  // namespace collie
