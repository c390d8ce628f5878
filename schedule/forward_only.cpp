#include <algorithm>
#include <numeric>

#include "base/error.hpp"
#include "schedule/schedules.hpp"
#include "schedule/ticks.hpp"

namespace collie::schedule {
namespace {

Schedule empty_forwards(const std::vector<int>& rank_of_stage, int micro_batches) {
  COLLIE_ASSERT(!rank_of_stage.empty() && micro_batches >= 1, "{} stages, {} micro-batches",
                rank_of_stage.size(), micro_batches);
  const auto [least, most] = std::minmax_element(rank_of_stage.begin(), rank_of_stage.end());
  COLLIE_ASSERT(*least >= 0, "rank {}", *least);
  Schedule schedule;
  schedule.name = "forward_only";
  schedule.forward_only = true;
  schedule.ranks = *most + 1;
  schedule.stages = static_cast<int>(rank_of_stage.size());
  schedule.micro_batches = micro_batches;
  schedule.rank_of_stage = rank_of_stage;
  schedule.lists.resize(static_cast<size_t>(schedule.ranks));
  return schedule;
}

}  // namespace

Schedule forward_only(const std::vector<int>& rank_of_stage, int micro_batches) {
  const Schedule empty = empty_forwards(rank_of_stage, micro_batches);
  Ticks ticks(empty, int64_t{empty.stages} * micro_batches);
  constexpr auto forward = ActionKind::forward;
  // No message waits for long, or for ever: the message that got furthest finds the next channel empty.
  const auto is_empty_after = [&](int stage) {
    const auto next = static_cast<size_t>(stage) + 1;
    return next == rank_of_stage.size() || rank_of_stage[next] == rank_of_stage[next - 1] ||
           ticks.started(forward, stage) == ticks.started(forward, stage + 1);
  };
  for (; !ticks.ended(); ticks.next())
    for (int stage = empty.stages - 1; stage >= 0; --stage)
      if (ticks.ready(forward, stage) && is_empty_after(stage)) ticks.start(forward, stage);
  return ticks.schedule();
}

Schedule forward_only(int ranks, int micro_batches) {
  COLLIE_ASSERT(ranks >= 1, "{} ranks", ranks);
  std::vector<int> own(static_cast<size_t>(ranks));
  std::iota(own.begin(), own.end(), 0);
  return forward_only(own, micro_batches);
}

}  // namespace collie::schedule
