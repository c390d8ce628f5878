// Schedules are functions from sizes to action lists.
#pragma once

#include <functional>
#include <string>

#include "base/registry.hpp"
#include "schedule/action.hpp"
#include "schedule/validator.hpp"

namespace collie::schedule {

struct Sizes {
  int ranks = 1;                // pipeline ranks, p
  int micro_batches = 1;        // m
  int virtual_stages = 1;       // stages a rank
  bool split_backward = false;  // I and W instead of B
};

// Compute actions only (F, B or I and W).
using ScheduleFunction = std::function<Schedule(const Sizes&)>;
// Built in: "gpipe" (Huang et al., arXiv 1811.06965; its backward goes in micro-batch order, so that
// gradients add up in it) and "1f1b" (Narayanan et al., arXiv 2104.04473, non-interleaved). Both have one
// stage a rank: any other virtual_stages is a UserError.
Registry<ScheduleFunction>& schedules();

// A schedule by name, or from a file where the name ends in ".csv"; such a file must agree with `sizes`, and
// its B become I and W where split_backward asks for it. Validated (see validator.hpp). UserError for sizes
// below 1, for an unknown name, and for whatever is wrong with the file.
Schedule make_schedule(const std::string& name, const Sizes& sizes, const Limits& limits = {});

// A CSV file's schedule, its sizes taken from the file, validated. UserError where it cannot be read.
Schedule read_schedule_file(const std::string& path, const Limits& limits = {});

// F of every micro-batch in order, one stage a rank: evaluation and generation.
Schedule forward_only(int ranks, int micro_batches);

// Every B becomes I directly followed by W.
Schedule with_split_backward(Schedule schedule);

// Adds the sends and receives: a receive right before the action that needs it, a send right after the action
// that made it. None between stages on the same rank. A schedule that has them already is returned as it is.
Schedule with_communication(const Schedule& compute_only);

}  // namespace collie::schedule
