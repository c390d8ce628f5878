// What a run took, for people: memory by category and time, a rank a row.
#pragma once

#include <string>
#include <vector>

#include "actors/messages.hpp"
#include "actors/run_plan.hpp"

namespace collie {

// Several lines; empty where no rank has reported.
std::string describe_run(const RunPlan& plan, const std::vector<RankSummary>& ranks,
                         const std::vector<double>& busy_seconds, double wall_seconds);

std::string human_bytes(size_t bytes);  // "12.3 MiB"

}  // namespace collie
