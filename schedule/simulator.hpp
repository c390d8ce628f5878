// When every action starts and ends, for given costs.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "schedule/action.hpp"
#include "schedule/validator.hpp"

namespace collie::schedule {

// In any unit of time. A whole backward costs backward_input + backward_weight. With v virtual stages a rank
// an action costs 1/v. communication: from a send until its receive can complete; it occupies neither rank.
struct Costs {
  double forward = 1, backward_input = 1, backward_weight = 1, communication = 0;
};

struct TimedAction {
  Action action;
  int rank = 0;
  double start = 0, end = 0;
};

struct Timeline {
  // In list order, with the sends and receives (added where the schedule has none): a receive lasts as long
  // as the rank waits for its message, a send as long as it waits for a credit.
  std::vector<std::vector<TimedAction>> ranks;
  double makespan = 0;
  std::vector<double> busy;     // compute time of each rank
  double bubble_share() const;  // idle time of all ranks / (ranks · makespan); 0 where nothing takes any time
};

// `duration` overrides the costs of compute actions where given (measured durations). UserError for a
// negative or infinite cost, and for whatever validate() refuses. Exact where sums of the costs are
// (integers, halves).
Timeline simulate(const Schedule& schedule, const Costs& costs, const Limits& limits = {},
                  const std::function<double(const Action&)>& duration = {});

// csv: PyTorch's format (torch.distributed.pipelining), one row a rank. Compute actions alone ("compute_only"
// there) have a column a tick, every action taking one, and an empty cell where a rank idles; a schedule with
// communication
// ("compute_comms") has no empty cells.
std::string to_csv(const Schedule& schedule);

// Reads both. Left out are PyTorch's actions that this engine places itself (UNSHARD, RESHARD, REDUCE_GRAD
// and the WAIT_ kinds); "(0F1;3B0)OVERLAP_F_B" is read as its parts in turn. The sizes are those the actions
// name, and a file with F alone is forward_only. UserError with row and column, from 1. The lists are not
// validated.
Schedule from_csv(const std::string& text, const std::string& where);

// text: one row a rank, one column a tick of the timeline: "F3" starts there, "==" it goes on, ".." the rank
// idles; below it the makespan, the bubble's share and the peak activations. svg: a picture of the same.
std::string to_text(const Schedule& schedule, const Timeline& timeline);
std::string to_svg(const Schedule& schedule, const Timeline& timeline);

}  // namespace collie::schedule
