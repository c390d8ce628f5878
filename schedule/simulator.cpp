#include "schedule/simulator.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "base/error.hpp"
#include "schedule/player.hpp"
#include "schedule/schedules.hpp"

namespace collie::schedule {
namespace {

void check_cost(const char* what, double cost) {
  if (!std::isfinite(cost) || cost < 0)
    throw UserError("the cost of {} must be a number of at least 0, found {}", what, cost);
}

double cost_of(const Costs& costs, ActionKind kind) {
  switch (kind) {
    case ActionKind::forward:
      return costs.forward;
    case ActionKind::backward:
      return costs.backward_input + costs.backward_weight;
    case ActionKind::backward_input:
      return costs.backward_input;
    case ActionKind::backward_weight:
      return costs.backward_weight;
    default:
      return 0;
  }
}

Timeline timeline_of(const Schedule& schedule, const Played& played) {
  Timeline timeline;
  timeline.ranks.resize(schedule.lists.size());
  timeline.busy.assign(schedule.lists.size(), 0);
  for (size_t rank = 0; rank < schedule.lists.size(); ++rank) {
    for (size_t i = 0; i < schedule.lists[rank].size(); ++i) {
      const Action& action = schedule.lists[rank][i];
      const auto [start, end] = played.spans[rank][i];
      timeline.ranks[rank].push_back({action, static_cast<int>(rank), start, end});
      timeline.makespan = std::max(timeline.makespan, end);
      if (is_compute(action.kind)) timeline.busy[rank] += end - start;
    }
  }
  return timeline;
}

}  // namespace

double Timeline::bubble_share() const {
  const double whole = static_cast<double>(busy.size()) * makespan;
  return whole > 0 ? 1 - std::accumulate(busy.begin(), busy.end(), 0.0) / whole : 0;
}

Timeline simulate(const Schedule& schedule, const Costs& costs, const Limits& limits,
                  const std::function<double(const Action&)>& duration) {
  check_cost("a forward", costs.forward);
  check_cost("an input's backward", costs.backward_input);
  check_cost("a weight's backward", costs.backward_weight);
  check_cost("communication", costs.communication);
  check_lists(schedule);
  const Schedule complete = with_communication(schedule);
  const double share = static_cast<double>(schedule.ranks) / schedule.stages;  // 1/v
  const auto take = [&](const Action& action) {
    const double cost = duration ? duration(action) : cost_of(costs, action.kind) * share;
    if (duration) check_cost(to_string(action).c_str(), cost);
    return cost;
  };
  const Played played = play(complete, limits, costs.communication, take);
  refuse_deadlock(complete, limits, played);
  return timeline_of(complete, played);
}

}  // namespace collie::schedule
