#include "schedule/validator.hpp"

#include <algorithm>

#include "base/error.hpp"
#include "schedule/player.hpp"
#include "schedule/schedules.hpp"

namespace collie::schedule {

void validate(const Schedule& schedule, const Limits& limits) {
  check_lists(schedule);
  const Schedule complete = with_communication(schedule);
  // The lists end or not however long the actions take.
  refuse_deadlock(complete, limits, play(complete, limits, 0, [](const Action&) { return 0.0; }));
}

std::vector<int> peak_activations(const Schedule& schedule) {
  const auto stages = static_cast<size_t>(schedule.stages);
  std::vector<int> held(stages, 0), peak(stages, 0);
  if (schedule.forward_only) return peak;
  for (const ActionList& list : schedule.lists) {
    for (const Action& action : list) {
      const auto stage = static_cast<size_t>(action.stage);
      if (action.kind == ActionKind::forward) peak[stage] = std::max(peak[stage], ++held[stage]);
      if (action.kind == ActionKind::backward || action.kind == ActionKind::backward_weight) --held[stage];
    }
  }
  return peak;
}

}  // namespace collie::schedule
