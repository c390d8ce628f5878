// The event of a step: the names of its values, in the order in which sinks have them. A new number of the
// trainer gets its name here, and is then in every sink.
#pragma once

#include <optional>
#include <string>

#include "runtime/events.hpp"
#include "runtime/sinks/event.hpp"

namespace collie {

Event event_of(const StepFinished& step);

// Returns the step of that number from `path`, which is metrics.jsonl, if its line is complete. A step that
// was to be evaluated and has no evaluation is the one in which the run was interrupted.
std::optional<StepFinished> recorded_step(const std::string& path, int64_t step);

}  // namespace collie
