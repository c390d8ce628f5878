#include "actors/summary.hpp"

#include <fmt/format.h>

#include <array>

namespace collie {

std::string human_bytes(size_t bytes) {
  static constexpr std::array<const char*, 5> units{"B", "KiB", "MiB", "GiB", "TiB"};
  auto value = static_cast<double>(bytes);
  size_t unit = 0;
  while (value >= 1024 && unit + 1 < units.size()) {
    value /= 1024;
    ++unit;
  }
  return unit == 0 ? fmt::format("{} B", bytes) : fmt::format("{:.1f} {}", value, units[unit]);
}

std::string describe_run(const RunPlan& plan, const std::vector<RankSummary>& ranks,
                         const std::vector<double>& busy_seconds) {
  if (ranks.empty() || ranks.front().peak_bytes.empty()) return "";
  std::string text = "peak memory by rank\n";
  text += fmt::format("  {:<6}", "rank");
  for (size_t category = 0; category < category_count; ++category)
    text += fmt::format("{:>14}", name(static_cast<Category>(category)));
  text += fmt::format("{:>14}\n", "all together");
  for (size_t rank = 0; rank < ranks.size(); ++rank) {
    text += fmt::format("  {:<6}", rank);
    for (const size_t bytes : ranks[rank].peak_bytes) text += fmt::format("{:>14}", human_bytes(bytes));
    text += fmt::format("{:>14}\n", human_bytes(ranks[rank].peak_total_bytes));
  }
  text += "computing time and most activations held\n";
  for (size_t rank = 0; rank < ranks.size(); ++rank) {
    text += fmt::format("  rank {}: {:.1f} s", rank, busy_seconds[rank]);
    size_t chunk = 0;
    for (size_t stage = 0; stage < plan.layout.rank_of_stage.size(); ++stage)
      if (plan.layout.rank_of_stage[stage] == static_cast<int>(rank) &&
          chunk < ranks[rank].peak_activations.size())
        text += fmt::format(", stage {}: {} micro-batches", stage, ranks[rank].peak_activations[chunk++]);
    text += "\n";
  }
  return text;
}

}  // namespace collie
