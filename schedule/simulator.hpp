// When every action starts and ends, for given costs.
#pragma once

#include <functional>
#include <vector>

#include "schedule/action.hpp"
#include "schedule/validator.hpp"

namespace collie::schedule {

// In any unit of time. A whole backward costs backward_input + backward_weight. With v virtual stages a rank an action costs 1/v.
// communication: from a send until its receive can complete; it occupies neither rank.
struct Costs {
  double forward = 1, backward_input = 1, backward_weight = 1, communication = 0;
};

struct TimedAction {
  Action action;
  int rank = 0;
  double start = 0, end = 0;
};

struct Timeline {
  std::vector<std::vector<TimedAction>> ranks;  // in list order
  double makespan = 0;
  std::vector<double> busy;                     // compute time of each rank
  double bubble_share() const;                  // idle time of all ranks / (ranks · makespan)
};

// `duration` overrides the costs where given (measured durations).
Timeline simulate(const Schedule& schedule, const Costs& costs, const Limits& limits = {},
                  const std::function<double(const Action&)>& duration = {});

// csv: PyTorch's format, compute actions, one row a rank. text: one row a rank, one column a tick of the timeline. svg: a picture.
std::string to_csv(const Schedule& schedule);
Schedule from_csv(const std::string& text, const std::string& where);
std::string to_text(const Schedule& schedule, const Timeline& timeline);
std::string to_svg(const Schedule& schedule, const Timeline& timeline);

}  // namespace collie::schedule
