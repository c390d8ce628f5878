#include "schedule/ticks.hpp"

#include <algorithm>

#include "base/error.hpp"

namespace collie::schedule {

Ticks::Ticks(Schedule empty, int64_t actions)
    : schedule_(std::move(empty)), left_(actions), busy_(schedule_.lists.size(), false) {
  for (auto& stages : started_) stages.assign(static_cast<size_t>(schedule_.stages), 0);
  done_ = started_;
}

bool Ticks::ready(ActionKind kind, int stage) const {
  const int micro_batch = started(kind, stage);
  if (busy_[rank_of(stage)] || micro_batch == schedule_.micro_batches) return false;
  const auto made = [&](ActionKind what, int where) { return count(done_, what, where) > micro_batch; };
  switch (kind) {
    case ActionKind::forward:
      return stage == 0 || made(ActionKind::forward, stage - 1);
    case ActionKind::backward_input:
      return made(ActionKind::forward, stage) &&
             (stage + 1 == schedule_.stages || made(ActionKind::backward_input, stage + 1));
    case ActionKind::backward_weight:
      return made(ActionKind::backward_input, stage);
    default:
      COLLIE_ASSERT(false, "only F, I and W take a tick");
  }
}

void Ticks::start(ActionKind kind, int stage) {
  int& started = started_[static_cast<size_t>(kind)][static_cast<size_t>(stage)];
  schedule_.lists[rank_of(stage)].push_back({kind, stage, started});
  ++started;
  --left_;
  busy_[rank_of(stage)] = true;
}

void Ticks::next() {
  const bool any = std::find(busy_.begin(), busy_.end(), true) != busy_.end();
  COLLIE_ASSERT(any, "schedule {}: nothing is ready, and {} actions are left", schedule_.name, left_);
  std::fill(busy_.begin(), busy_.end(), false);
  done_ = started_;
}

}  // namespace collie::schedule
