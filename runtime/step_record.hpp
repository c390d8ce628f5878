// A step's line in metrics.jsonl.
#pragma once

#include <nlohmann/json.hpp>
#include <optional>
#include <string>

#include "runtime/events.hpp"

namespace collie {

nlohmann::ordered_json record_of(const StepFinished& step);

// The step of that number in `path`, where its line is there, whole, and without an evaluation: the run was
// interrupted in it.
std::optional<StepFinished> unevaluated_step(const std::string& path, int64_t step);

}  // namespace collie
