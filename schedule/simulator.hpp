// Computes when every action starts and ends, for given costs.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "schedule/action.hpp"
#include "schedule/validator.hpp"

namespace collie::schedule {

// Costs in any unit of time. A whole backward costs backward_input + backward_weight. With v virtual stages
// per rank an action costs 1/v. `communication` is the time from a send until its receive can complete; it
// occupies neither rank.
struct Costs {
  double forward = 1, backward_input = 1, backward_weight = 1, communication = 0;
};

struct TimedAction {
  Action action;
  int rank = 0;
  double start = 0, end = 0;
};

struct Timeline {
  // In list order, with the sends and receives (added if the schedule has none). A receive lasts as long as
  // the rank waits for its message, a send as long as it waits for a credit.
  std::vector<std::vector<TimedAction>> ranks;
  double makespan = 0;
  std::vector<double> busy;     // compute time of each rank
  double bubble_share() const;  // idle time of all ranks / (ranks · makespan); 0 if nothing takes any time
};

// `duration`, if given, overrides the costs of compute actions (measured durations). Throws UserError for a
// negative or infinite cost, and for whatever validate() refuses. Times are exact if sums of the costs are
// (integers, halves).
Timeline simulate(const Schedule& schedule, const Costs& costs, const Limits& limits = {},
                  const std::function<double(const Action&)>& duration = {});

// csv is PyTorch's format (torch.distributed.pipelining), one row per rank. In a schedule with compute
// actions alone ("compute_only" there) every action takes one tick: there is one column per tick, and an
// empty cell if a rank idles. A schedule with communication ("compute_comms") has no empty cells.
std::string to_csv(const Schedule& schedule);

// Reads both kinds. PyTorch's actions that this engine places itself (UNSHARD, RESHARD, REDUCE_GRAD and the
// WAIT_ kinds) are left out. "(0F1;3B0)OVERLAP_F_B" is read as its parts in turn. The sizes are those that
// the actions name, and a file with F alone is forward_only. Throws UserError with row and column, from 1.
// The lists are not validated.
Schedule from_csv(const std::string& text, const std::string& where);

// text has one row per rank and one column per tick of the timeline: at "F3" the action starts, at "==" it
// goes on, at ".." the rank idles. The makespan, the bubble's share and the peak activations stand below. svg
// is a picture of the same.
std::string to_text(const Schedule& schedule, const Timeline& timeline);
std::string to_svg(const Schedule& schedule, const Timeline& timeline);

}  // namespace collie::schedule
