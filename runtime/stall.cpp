#include "runtime/stall.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace collie {

using Phase = RankStatus::Phase;

std::optional<Stall> describe_stall(const std::vector<RankStatus::Snapshot>& ranks, double now_s,
                                    double timeout_s, const std::vector<int>& numbers) {
  const auto number = [&](size_t i) { return numbers.empty() ? static_cast<int>(i) : numbers[i]; };
  std::optional<size_t> culprit;
  double latest_change_s = 0;
  for (size_t rank = 0; rank < ranks.size(); ++rank) {
    latest_change_s = std::max(latest_change_s, ranks[rank].since_s);
    if (ranks[rank].phase == Phase::idle) continue;
    const bool better =
        !culprit || (ranks[*culprit].phase != Phase::computing && ranks[rank].phase == Phase::computing);
    if (better) culprit = rank;
  }
  if (!culprit || now_s - latest_change_s <= timeout_s) return std::nullopt;

  const auto& blocked = ranks[*culprit];
  Stall stall;
  stall.who = fmt::format("rank {}", number(*culprit));
  stall.cause = fmt::format("no progress for {:.1f} s (run.stall_timeout_s is {:g}); it {}'{}'",
                            now_s - latest_change_s, timeout_s,
                            blocked.phase == Phase::computing ? "is inside " : "", blocked.what);
  for (size_t rank = 0; rank < ranks.size(); ++rank)
    if (rank != *culprit) stall.cause += fmt::format("; rank {} {}", number(rank), ranks[rank].what);
  return stall;
}

std::chrono::milliseconds watch_interval(double timeout_s) {
  return std::chrono::milliseconds(static_cast<int64_t>(std::clamp(timeout_s * 250, 20.0, 1000.0)));
}

}  // namespace collie
