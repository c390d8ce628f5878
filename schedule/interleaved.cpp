// Interleaved 1F1B: Narayanan et al., "Efficient Large-Scale Language Model Training on GPU Clusters Using
// Megatron-LM", arXiv 2104.04473, section 2.2.
#include <algorithm>

#include "schedule/builtin.hpp"

namespace collie::schedule {
namespace {

// The order in which every rank runs its forwards and, with the stages mirrored, its backwards.
class Turns {
 public:
  explicit Turns(const Sizes& sizes)
      : ranks_(sizes.ranks),
        chunks_(sizes.virtual_stages),
        // A micro-batch is back at rank 0 after p turns. Meanwhile p micro-batches keep the ranks busy.
        group_(std::min(sizes.ranks, sizes.micro_batches)),
        groups_((sizes.micro_batches + group_ - 1) / group_),
        // Groups of more than p would need more than one slot in the channel from the last rank back to the
        // first. So the remainder is a group with gaps. Gaps cost least in the first group, because the ranks
        // wait there anyway.
        missing_(groups_ * group_ - sizes.micro_batches) {}

  int count() const { return groups_ * group_ * chunks_; }

  // The number of forwards that a rank runs before its first backward: those of p micro-batches on all stages
  // but the last, and two for each rank that follows.
  int ahead(int rank) const { return std::min(2 * (ranks_ - 1 - rank) + (chunks_ - 1) * group_, count()); }

  void append(ActionList& list, ActionKind kind, int rank, int turn) const {
    const int place = turn / group_ % chunks_;
    const int chunk = kind == ActionKind::forward ? place : chunks_ - 1 - place;
    const int micro_batch = turn / (group_ * chunks_) * group_ + turn % group_ - missing_;
    if (micro_batch >= 0) list.push_back({kind, chunk * ranks_ + rank, micro_batch});
  }

 private:
  int ranks_, chunks_, group_, groups_, missing_;
};

}  // namespace

Schedule interleaved(const Sizes& sizes) {
  Schedule schedule = empty_lists("interleaved_1f1b", several_stages, sizes);
  const Turns turns(sizes);
  for (int rank = 0; rank < sizes.ranks; ++rank) {
    ActionList& list = schedule.lists[static_cast<size_t>(rank)];
    const int ahead = turns.ahead(rank);
    for (int turn = 0; turn < turns.count() + ahead; ++turn) {
      if (turn < turns.count()) turns.append(list, ActionKind::forward, rank, turn);
      if (turn >= ahead) turns.append(list, ActionKind::backward, rank, turn - ahead);
    }
  }
  return finished(std::move(schedule), sizes);
}

}  // namespace collie::schedule
