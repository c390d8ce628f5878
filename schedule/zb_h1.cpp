// ZB-H1: Qi et al., "Zero Bubble Pipeline Parallelism", arXiv 2401.10241, section 2.
#include <algorithm>

#include "schedule/builtin.hpp"

namespace collie::schedule {

// Only I is on the way of the next rank, so W may wait. Rank r starts r ticks later than rank 0. It must be
// done with its last I earlier, by the time that the ranks before it still need for theirs. It achieves this
// by delaying r of its W, which then fill the end. So a stage holds p - r micro-batches between F and I, and
// r more between I and W: p, as 1F1B does on its first rank.
Schedule zb_h1(const Sizes& sizes) {
  Schedule schedule = empty_lists("zb_h1", one_stage, sizes);
  const int count = sizes.micro_batches;
  for (int rank = 0; rank < sizes.ranks; ++rank) {
    ActionList& list = schedule.lists[static_cast<size_t>(rank)];
    const int ahead = std::min(sizes.ranks - 1 - rank, count), put_off = std::min(rank, count);
    append(list, ActionKind::forward, rank, 0, ahead);
    for (int micro_batch = 0; micro_batch < count; ++micro_batch) {
      if (micro_batch + ahead < count) list.push_back({ActionKind::forward, rank, micro_batch + ahead});
      list.push_back({ActionKind::backward_input, rank, micro_batch});
      if (micro_batch >= put_off) list.push_back({ActionKind::backward_weight, rank, micro_batch - put_off});
    }
    append(list, ActionKind::backward_weight, rank, count - put_off, count);
  }
  return schedule;
}

}  // namespace collie::schedule
