// The stall watchdog's diagnosis: which rank waits for what, and for whom.
#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <vector>

#include "runtime/rank_status.hpp"

namespace collie {

struct Stall {
  std::string who;    // "rank 1"
  std::string cause;  // what the rank is blocked in, and what the others wait for
};

// A run has stalled if no rank has changed its activity for `timeout_s` seconds and at least one has work to
// do. The result names the rank that is inside a task, if there is one (the others wait for it), else the
// first rank that waits. `numbers` are the ranks' numbers; empty: 0, 1, 2, ...
std::optional<Stall> describe_stall(const std::vector<RankStatus::Snapshot>& ranks, double now_s,
                                    double timeout_s, const std::vector<int>& numbers = {});

// Returns the polling interval. It is short enough to end a run within a few seconds of the timeout.
std::chrono::milliseconds watch_interval(double timeout_s);

}  // namespace collie
