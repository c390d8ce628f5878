// Writes the timeline as rows of characters.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "schedule/summary.hpp"

namespace collie::schedule {
namespace {

constexpr size_t most_ticks = 20000;

// The longest tick of which every compute action's start and end are multiples: the shortest action, or a
// fraction of it. If there is none, it is a fraction that is off by at most a few percent of the shortest
// action.
double tick_of(const Timeline& timeline) {
  const double shortest = shortest_compute(timeline);
  if (shortest == 0) return 1;
  const auto fits = [&](double tick) {
    const auto whole = [&](double time) { return std::abs(time / tick - std::round(time / tick)) < 1e-6; };
    for (const auto& rank : timeline.ranks)
      for (const TimedAction& timed : rank)
        if (is_compute(timed.action.kind) && (!whole(timed.start) || !whole(timed.end))) return false;
    return true;
  };
  double tick = shortest;
  for (int parts = 1; parts <= 16; ++parts) {
    tick = shortest / parts;
    if (fits(tick)) break;
  }
  return std::max(tick, timeline.makespan / most_ticks);
}

// The rank's cells, one per tick.
std::vector<std::string> cells_of(const Schedule& schedule, const std::vector<TimedAction>& rank, double tick,
                                  size_t ticks) {
  std::vector<std::string> cells(ticks, "..");
  for (const TimedAction& timed : rank) {
    if (!is_compute(timed.action.kind)) continue;
    const auto begin = static_cast<size_t>(std::lround(timed.start / tick));
    const auto end = static_cast<size_t>(std::lround(timed.end / tick));
    for (size_t i = begin; i < std::min(end, ticks); ++i) cells[i] = "==";
    if (begin < ticks && begin < end) cells[begin] = label_of(schedule, timed.action);
  }
  return cells;
}

std::string row_of(const std::string& head, size_t head_width, const std::vector<std::string>& cells,
                   size_t width) {
  std::string row = fmt::format("{:<{}} |", head, head_width);
  for (const std::string& cell : cells) row += fmt::format(" {:<{}}", cell, width);
  row.erase(row.find_last_not_of(' ') + 1);
  return row + '\n';
}

// The time of every tenth tick.
std::string ruler_of(double tick, size_t head_width, size_t ticks, size_t width) {
  constexpr size_t every = 10;
  std::string row = fmt::format("{:<{}} |", "time", head_width);
  for (size_t i = 0; i < ticks; i += every)
    row +=
        fmt::format(" {:<{}}", fmt::format("{:.6g}", static_cast<double>(i) * tick), every * (width + 1) - 1);
  row.erase(row.find_last_not_of(' ') + 1);
  return row + '\n';
}

}  // namespace

std::string to_text(const Schedule& schedule, const Timeline& timeline) {
  const double tick = tick_of(timeline);
  const auto ticks = static_cast<size_t>(std::lround(timeline.makespan / tick));
  size_t width = 2;
  std::vector<std::vector<std::string>> rows;
  for (const auto& rank : timeline.ranks) {
    rows.push_back(cells_of(schedule, rank, tick, ticks));
    for (const std::string& cell : rows.back()) width = std::max(width, cell.size());
  }
  const size_t head_width = fmt::format("rank {}", rows.size() - 1).size();
  std::string text = ruler_of(tick, head_width, ticks, width);
  for (size_t rank = 0; rank < rows.size(); ++rank)
    text += row_of(fmt::format("rank {}", rank), head_width, rows[rank], width);
  return text + fmt::format("{}\n{}, peak activations by stage {}\n", title_of(schedule), times_of(timeline),
                            peaks_of(schedule));
}

}  // namespace collie::schedule
