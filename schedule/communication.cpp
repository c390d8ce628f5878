// Places sends and receives in the lists.
#include <optional>

#include "base/error.hpp"
#include "schedule/schedules.hpp"

namespace collie::schedule {
namespace {

// The stage whose output `action` needs, and the stage that needs its result. Both are none at the model's
// ends, and for a weight's gradient.
struct Neighbours {
  std::optional<Action> receive, send;
};

Neighbours neighbours(const Schedule& schedule, const Action& action) {
  const auto crosses = [&](int other) {
    return other >= 0 && other < schedule.stages &&
           schedule.rank_of_stage[static_cast<size_t>(other)] !=
               schedule.rank_of_stage[static_cast<size_t>(action.stage)];
  };
  const bool forward = action.kind == ActionKind::forward;
  if (!forward && action.kind != ActionKind::backward && action.kind != ActionKind::backward_input) return {};
  const int step = forward ? 1 : -1;
  Neighbours found;
  if (crosses(action.stage - step))
    found.receive = Action{forward ? ActionKind::receive_forward : ActionKind::receive_backward, action.stage,
                           action.micro_batch};
  if (crosses(action.stage + step))
    found.send = Action{forward ? ActionKind::send_forward : ActionKind::send_backward, action.stage,
                        action.micro_batch};
  return found;
}

}  // namespace

Schedule with_communication(const Schedule& compute_only) {
  if (has_communication(compute_only)) return compute_only;
  Schedule schedule = compute_only;
  for (size_t rank = 0; rank < schedule.lists.size(); ++rank) {
    ActionList list;
    std::vector<int> columns;
    for (size_t i = 0; i < compute_only.lists[rank].size(); ++i) {
      const Action& action = compute_only.lists[rank][i];
      COLLIE_ASSERT(action.stage >= 0 && action.stage < schedule.stages, "stage of {}", to_string(action));
      const auto [receive, send] = neighbours(schedule, action);
      if (receive) list.push_back(*receive);
      list.push_back(action);
      if (send) list.push_back(*send);
      if (!schedule.columns.empty()) columns.resize(list.size(), compute_only.columns[rank][i]);
    }
    schedule.lists[rank] = std::move(list);
    if (!schedule.columns.empty()) schedule.columns[rank] = std::move(columns);
  }
  return schedule;
}

}  // namespace collie::schedule
