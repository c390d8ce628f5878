// A step's line in metrics.jsonl.
#pragma once

#include <nlohmann/json.hpp>
#include <optional>
#include <string>

#include "runtime/events.hpp"

namespace collie {

nlohmann::ordered_json record_of(const StepFinished& step);

// Returns the step of that number from `path` if its line is complete and has no evaluation. The run was then
// interrupted in that step.
std::optional<StepFinished> unevaluated_step(const std::string& path, int64_t step);

}  // namespace collie
