#include "schedule/summary.hpp"

#include <fmt/format.h>

namespace collie::schedule {
namespace {

std::string count_of(int count, const char* what, const char* plural) {
  return fmt::format("{} {}{}", count, what, count == 1 ? "" : plural);
}

}  // namespace

std::string title_of(const Schedule& schedule) {
  std::string title = schedule.name + ": " + count_of(schedule.ranks, "rank", "s");
  if (schedule.stages != schedule.ranks) title += ", " + count_of(schedule.stages, "stage", "s");
  return title + ", " + count_of(schedule.micro_batches, "micro-batch", "es");
}

std::string times_of(const Timeline& timeline) {
  return fmt::format("makespan {:.6g}, bubble {:.1f} %", timeline.makespan, 100 * timeline.bubble_share());
}

std::string peaks_of(const Schedule& schedule) {
  const std::vector<int> peaks = peak_activations(schedule);
  return fmt::format("{}", fmt::join(peaks, " "));
}

std::string label_of(const Schedule& schedule, const Action& action) {
  const std::string label = to_string(action);
  return schedule.stages == schedule.ranks ? label.substr(std::to_string(action.stage).size()) : label;
}

double shortest_compute(const Timeline& timeline) {
  double shortest = 0;
  for (const auto& rank : timeline.ranks)
    for (const TimedAction& timed : rank) {
      const double length = timed.end - timed.start;
      if (is_compute(timed.action.kind) && length > 0 && (shortest == 0 || length < shortest))
        shortest = length;
    }
  return shortest;
}

}  // namespace collie::schedule
