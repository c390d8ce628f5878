// Makes lists by playing them on a clock: every action takes one tick. A schedule's rule looks at what is
// ready and starts it. The lists record what was started.
#pragma once

#include <array>

#include "schedule/action.hpp"

namespace collie::schedule {

class Ticks {
 public:
  // `empty` has its sizes and placement, and empty lists. `actions` is the number of actions that there will
  // be.
  Ticks(Schedule empty, int64_t actions);

  // Says whether the stage's rank is free and the stage's next F, I or W has what it needs from earlier
  // ticks.
  bool ready(ActionKind kind, int stage) const;
  // Starts the action. The rank is busy until next().
  void start(ActionKind kind, int stage);
  // The number that were started, including this tick. Actions of one kind start in micro-batch order.
  int started(ActionKind kind, int stage) const { return count(started_, kind, stage); }

  bool ended() const { return left_ == 0; }
  // Asserts that something was started in this tick. Otherwise the rule has a mistake: more idle ticks would
  // follow.
  void next();

  const Schedule& schedule() const { return schedule_; }

 private:
  using Counts = std::array<std::vector<int>, action_kind_count>;  // [kind][stages]

  static int count(const Counts& counts, ActionKind kind, int stage) {
    return counts[static_cast<size_t>(kind)][static_cast<size_t>(stage)];
  }
  size_t rank_of(int stage) const {
    return static_cast<size_t>(schedule_.rank_of_stage[static_cast<size_t>(stage)]);
  }

  Schedule schedule_;
  int64_t left_;
  Counts started_, done_;   // done_: before this tick
  std::vector<bool> busy_;  // [ranks]
};

}  // namespace collie::schedule
