#include "runtime/rank_status.hpp"

#include <fmt/format.h>

namespace collie {
namespace {

std::string describe(const RankStatus::Activity& activity) {
  switch (activity.phase) {
    case RankStatus::Phase::idle:
      return "has nothing to do";
    case RankStatus::Phase::computing:
      return to_string(activity.task);
    case RankStatus::Phase::waiting:
      break;
  }
  const Task& task = activity.task;
  if (task.kind == TaskKind::synchronize_step) return "waits for all ranks' losses and gradient norms";
  if (receives(task))
    return fmt::format("waits for {} of micro-batch {} from rank {}", to_string(activity.channel),
                       micro_batch_of(task), activity.peer);
  return fmt::format("waits to send {} of micro-batch {}: rank {} holds all {} credits",
                     to_string(activity.channel), micro_batch_of(task), activity.peer, activity.credits);
}

}  // namespace

RankStatus::Snapshot RankStatus::get() const {
  const auto [activity, since_s] = [this] {
    const std::lock_guard lock(mutex_);
    return std::pair(activity_, since_s_);
  }();
  return {activity.phase, describe(activity), since_s};
}

}  // namespace collie
