// Schedules are functions from sizes to action lists.
#pragma once

#include <functional>
#include <string>

#include "base/registry.hpp"
#include "schedule/action.hpp"

namespace collie::schedule {

struct Sizes {
  int ranks = 1;          // pipeline ranks, p
  int micro_batches = 1;  // m
  int virtual_stages = 1; // stages a rank
  bool split_backward = false;  // I and W instead of B
};

// Compute actions only (F, B or I and W).
using ScheduleFunction = std::function<Schedule(const Sizes&)>;
Registry<ScheduleFunction>& schedules();  // built in: "gpipe" (Huang et al., arXiv 1811.06965), "1f1b" (Narayanan et al., arXiv 2104.04473)

// A schedule by name, or from a file where the name ends in ".csv". Validated (see validator.hpp).
Schedule make_schedule(const std::string& name, const Sizes& sizes);

// Adds the sends and receives: a receive before the action that needs it, a send right after the action that
// made it. None between stages on the same rank.
Schedule with_communication(const Schedule& compute_only);

}  // namespace collie::schedule
