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

json evaluation_entry(double loss, const json& data) {
  return {{"eval_loss", loss}, {"data", data}};
}

std::optional<EvaluatedCheckpoint> evaluation_in(const json& metadata, int64_t step,
                                                 const std::string& place) {
  const auto found = metadata.find(evaluation_key);
  if (found == metadata.end()) return std::nullopt;
  try {
    EvaluatedCheckpoint evaluated{step, found->at("eval_loss").get<double>(), found->at("data")};
    if (std::isfinite(evaluated.loss)) return evaluated;
  } catch (const json::exception&) {
  }
  throw UserError("{}: its \"{}\" is {}; an eval_loss and the data are wanted", place, evaluation_key,
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
    if (each.data == by_step.back().data) best.push_back(each);
  std::stable_sort(best.begin(), best.end(), [](const auto& a, const auto& b) { return a.loss < b.loss; });
  return best;
}

}  // namespace collie
