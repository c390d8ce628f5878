#include "runtime/summary.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "base/bytes.hpp"

namespace collie {

namespace {

// Returns "" if there were no graphs.
std::string describe_graphs(const std::vector<RankSummary>& ranks) {
  std::string text;
  for (size_t rank = 0; rank < ranks.size(); ++rank) {
    const GraphCounts& graphs = ranks[rank].graphs;
    if (graphs.launched > 0)
      text += fmt::format("  {:<6}{} launched, {} made, {} updated\n", rank, graphs.launched, graphs.made,
                          graphs.updated);
  }
  return text.empty() ? "" : "graphs\n" + text;
}

}  // namespace

std::string describe_run(const Layout& layout, const std::vector<RankSummary>& ranks,
                         const std::vector<double>& busy_seconds, double wall_seconds) {
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
  text += "time, what was sent to other ranks, and most activations held\n";
  text += fmt::format("  {:<6}{:>8}{:>16}{:>10}{:>14}\n", "rank", "busy", "communicating", "waiting", "sent");
  for (size_t rank = 0; rank < ranks.size(); ++rank) {
    const double communicating = ranks[rank].communicating_s, busy = busy_seconds[rank] - communicating;
    const auto share = [&](double seconds) {
      return fmt::format("{:.0f} %", wall_seconds > 0 ? 100 * std::max(seconds, 0.0) / wall_seconds : 0.0);
    };
    text += fmt::format("  {:<6}{:>8}{:>16}{:>10}{:>14}", rank, share(busy), share(communicating),
                        share(wall_seconds - busy_seconds[rank]),
                        human_bytes(static_cast<size_t>(ranks[rank].sent_bytes)));
    const int position = layout.grid.place_of(static_cast<int>(rank)).pipeline;
    size_t chunk = 0;
    for (size_t stage = 0; stage < layout.rank_of_stage.size(); ++stage)
      if (layout.rank_of_stage[stage] == position && chunk < ranks[rank].peak_activations.size())
        text += fmt::format("  stage {}: {} micro-batches", stage, ranks[rank].peak_activations[chunk++]);
    text += "\n";
  }
  return text + describe_graphs(ranks);
}

}  // namespace collie
