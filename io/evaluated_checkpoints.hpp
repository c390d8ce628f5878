// What checkpoints say of their evaluation, and which of them are the best. The values stand in the
// checkpoints' own manifests, so they come and go with the checkpoints.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

namespace collie {

struct EvaluatedCheckpoint {
  int64_t step = 0;
  double loss = 0;      // eval_loss, finite
  nlohmann::json data;  // what it was evaluated on; losses on other data cannot be compared
};

// The entry of Manifest::metadata for an evaluation, under evaluation_key.
inline constexpr const char* evaluation_key = "evaluation";
nlohmann::json evaluation_entry(double loss, const nlohmann::json& data);

// Reads the entry; none if the metadata have none. Throws UserError naming `place` if it is not as written.
std::optional<EvaluatedCheckpoint> evaluation_in(const nlohmann::json& metadata, int64_t step,
                                                 const std::string& place);

// Those of the checkpoints in `folder` that were evaluated, by step. Only their manifests are read and
// checked. A checkpoint whose manifest cannot be read is none; `defects` gets the reasons.
std::vector<EvaluatedCheckpoint> evaluated_checkpoints(const std::string& folder,
                                                       std::vector<std::string>* defects = nullptr);

// Those that were evaluated on the same data as the newest, from the best to the worst. Of two that are equal
// the earlier one is better.
std::vector<EvaluatedCheckpoint> best_first(const std::vector<EvaluatedCheckpoint>& by_step);

}  // namespace collie
