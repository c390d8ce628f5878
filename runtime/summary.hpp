// The resources that a run took, for people: memory by category and time, one row per rank.
#pragma once

#include <string>
#include <vector>

#include "runtime/messages.hpp"
#include "runtime/program.hpp"

namespace collie {

// Returns several lines; empty if no rank has reported.
std::string describe_run(const Layout& layout, const std::vector<RankSummary>& ranks,
                         const std::vector<double>& busy_seconds, double wall_seconds);

}  // namespace collie
