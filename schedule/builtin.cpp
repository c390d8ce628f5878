#include "schedule/builtin.hpp"

#include <algorithm>

#include "base/error.hpp"

namespace collie::schedule {

void check_sizes(const Sizes& sizes) {
  constexpr int64_t most_forwards = int64_t{1} << 22;
  const auto at_least_one = [](const char* what, int value) {
    if (value < 1) throw UserError("a schedule needs at least 1 {}, found {}", what, value);
  };
  at_least_one("pipeline rank", sizes.ranks);
  at_least_one("micro-batch", sizes.micro_batches);
  at_least_one("virtual stage per rank", sizes.virtual_stages);
  if (static_cast<double>(sizes.ranks) * sizes.micro_batches * sizes.virtual_stages > most_forwards)
    throw UserError(
        "a schedule of {} ranks, {} stages per rank and {} micro-batches is too large: at most {} forward "
        "actions",
        sizes.ranks, sizes.virtual_stages, sizes.micro_batches, most_forwards);
}

Schedule empty_lists(const std::string& name, const StageRule& rule, const Sizes& sizes) {
  check_sizes(sizes);
  check_stages(name, rule, sizes.virtual_stages);
  Schedule schedule;
  schedule.name = name;
  schedule.ranks = sizes.ranks;
  schedule.stages = sizes.ranks * sizes.virtual_stages;
  schedule.micro_batches = sizes.micro_batches;
  schedule.rank_of_stage = ranks_of(rule, sizes.ranks, sizes.virtual_stages);
  schedule.lists.resize(static_cast<size_t>(sizes.ranks));
  return schedule;
}

void append(ActionList& list, ActionKind kind, int stage, int begin, int end) {
  for (int micro_batch = begin; micro_batch < end; ++micro_batch) list.push_back({kind, stage, micro_batch});
}

Schedule finished(Schedule schedule, const Sizes& sizes) {
  return sizes.split_backward ? with_split_backward(std::move(schedule)) : schedule;
}

Schedule gpipe(const Sizes& sizes) {
  Schedule schedule = empty_lists("gpipe", one_stage, sizes);
  for (int rank = 0; rank < sizes.ranks; ++rank) {
    ActionList& list = schedule.lists[static_cast<size_t>(rank)];
    append(list, ActionKind::forward, rank, 0, sizes.micro_batches);
    append(list, ActionKind::backward, rank, 0, sizes.micro_batches);
  }
  return finished(std::move(schedule), sizes);
}

Schedule one_forward_one_backward(const Sizes& sizes) {
  Schedule schedule = empty_lists("1f1b", one_stage, sizes);
  for (int rank = 0; rank < sizes.ranks; ++rank) {
    ActionList& list = schedule.lists[static_cast<size_t>(rank)];
    const int ahead = std::min(sizes.ranks - 1 - rank, sizes.micro_batches);
    append(list, ActionKind::forward, rank, 0, ahead);
    for (int micro_batch = ahead; micro_batch < sizes.micro_batches; ++micro_batch) {
      list.push_back({ActionKind::forward, rank, micro_batch});
      list.push_back({ActionKind::backward, rank, micro_batch - ahead});
    }
    append(list, ActionKind::backward, rank, sizes.micro_batches - ahead, sizes.micro_batches);
  }
  return finished(std::move(schedule), sizes);
}

}  // namespace collie::schedule
