// The stall watchdog's judgement: who waits for what from whom.
#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <vector>

#include "runtime/rank_status.hpp"

namespace collie {

struct Stall {
  std::string who;    // "rank 1"
  std::string cause;  // what it is blocked in, and what the others wait for
};

// A stall: no rank has changed what it does for `timeout_s` seconds, and at least one has something to do.
// Names the rank that is inside a task, if there is one (the others wait for it), else the first that waits.
// `numbers` of the ranks; empty: 0, 1, 2, ...
std::optional<Stall> describe_stall(const std::vector<RankStatus::Snapshot>& ranks, double now_s,
                                    double timeout_s, const std::vector<int>& numbers = {});

// How often to look: often enough to end a run within a few seconds of the timeout.
std::chrono::milliseconds watch_interval(double timeout_s);

}  // namespace collie
