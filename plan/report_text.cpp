// The plan as text for a terminal of 100 columns.
#include <fmt/format.h>

#include <algorithm>

#include "base/bytes.hpp"
#include "plan/report.hpp"
#include "schedule/summary.hpp"

namespace collie {
namespace {

constexpr size_t columns = 100, most_ranks = 16;

std::string counted(int64_t count, const char* one, const char* many) {
  return fmt::format("{} {}", grouped(count), count == 1 ? one : many);
}

// Appends `parts` to `head`, in lines of at most `columns`. Further lines are indented to the first part.
std::string wrapped(const std::string& head, const std::vector<std::string>& parts) {
  std::string text, line = head;
  bool fresh = true;
  for (const std::string& part : parts) {
    if (!fresh && line.size() + 1 + part.size() > columns) {
      text += line + '\n';
      line = std::string(head.size(), ' ');
      fresh = true;
    }
    line += (fresh ? "" : " ") + part;
    fresh = false;
  }
  return text + line + '\n';
}

std::string heading(const PlanReport& report) {
  const Grid& grid = report.grid;
  std::string text = fmt::format(
      "{}: {} parameters{} on {}: pipeline {} × data {} × context {} × tensor {}\n", report.name,
      grouped(report.parameters),
      report.trained_parameters == report.parameters
          ? ""
          : fmt::format(" ({} trained)", grouped(report.trained_parameters)),
      counted(grid.ranks(), "rank", "ranks"), grid.pipeline, grid.data, grid.context, grid.tensor);
  std::vector<std::string> facts{fmt::format("ZeRO stage {}", report.zero_stage)};
  if (report.sequence_parallel) facts.emplace_back("sequence parallelism");
  if (report.tied) facts.emplace_back("tied embedding");
  if (report.recompute != "none") facts.push_back(report.recompute + " recomputation");
  facts.push_back(fmt::format("{} on {}", name(report.dtype),
                              report.device == DeviceKind::cuda ? "NVIDIA GPUs" : "the CPU"));
  if (report.device == DeviceKind::cpu)
    facts.push_back(counted(report.threads_per_rank, "thread per rank", "threads per rank"));
  return text + fmt::format("  {}\n", fmt::join(facts, ", "));
}

std::string step(const PlanReport& report) {
  const std::string estimates =
      report.estimate_interval > 0
          ? fmt::format("\n  an estimate of the curvature, once in {} updates, takes as long as a step",
                        grouped(report.estimate_interval))
          : "";
  const std::string whole = report.whole_gradients.words();
  const bool all = report.trained_parameters == report.parameters;
  return fmt::format(
      "a step: {} ({} of {} a replica), at most {} each\n"
      "  first step: {} tokens, {} targets, {:.3g} floating-point operations:\n"
      "    matrices   {:.3g} {}\n"
      "    attention  {:.3g} {}\n"
      "{}"
      "steps: {}, of which {} an epoch{}\n",
      counted(report.sequences, "sequence", "sequences"),
      counted(report.micro_batches, "micro-batch", "micro-batches"), report.micro_batch_size,
      counted(report.sequence_length, "token", "tokens"), grouped(report.tokens), grouped(report.targets),
      report.work.total(), report.work.matrices,
      all ? fmt::format("= 6 · {} elements · tokens", grouped(report.matrix_elements))
          : fmt::format("of {} elements, and of adapters; gradients of what is trained alone",
                        grouped(report.matrix_elements)),
      report.work.attention, all ? "= 12 · blocks · heads · head_dim · visible keys" : "of the blocks",
      whole.empty() ? "" : fmt::format("  {}\n", whole), grouped(report.total_steps),
      grouped(report.steps_per_epoch), estimates);
}

std::string schedule_and_stages(const PlanReport& report) {
  const schedule::Costs& costs = report.costs;
  std::string text = fmt::format(
      "schedule {}\n  {}, where F takes {}, B {} + {} and a message {}\n  peak activations by stage: ",
      schedule::title_of(report.schedule), schedule::times_of(report.timeline), costs.forward,
      costs.backward_input, costs.backward_weight, costs.communication);
  text += schedule::peaks_of(report.schedule);
  const bool timed = report.layer_times.has_value();
  text += "\n\n";
  if (timed)
    text += fmt::format("measured, forward and backward of a micro-batch:\n  {}\n",
                        to_string(*report.layer_times));
  text += fmt::format("  {:>5}  {:>8}  {:>15}{}  {}\n", "stage", "position", "parameters",
                      timed ? "     measured" : "", "layers");
  for (size_t number = 0; number < report.stages.size(); ++number) {
    const PlanReport::Stage& stage = report.stages[number];
    text +=
        fmt::format("  {:>5}  {:>8}  {:>15}{}  {}\n", number, stage.position, grouped(stage.parameters),
                    timed ? fmt::format("  {:>8.3g} ms", 1e3 * stage.seconds) : "", blocks_of(stage.range));
  }
  return text;
}

// The ranks with a row: all, or at each pipeline position the one with the most memory.
std::vector<const PlannedRank*> shown(const PlanReport& report) {
  std::vector<const PlannedRank*> result;
  if (report.ranks.size() <= most_ranks) {
    for (const PlannedRank& rank : report.ranks) result.push_back(&rank);
    return result;
  }
  for (int position = 0; position < report.grid.pipeline; ++position) {
    const PlannedRank* most = nullptr;
    for (const PlannedRank& rank : report.ranks)
      if (rank.place.pipeline == position &&
          (most == nullptr || rank.peak_total_bytes > most->peak_total_bytes))
        most = &rank;
    result.push_back(most);
  }
  return result;
}

std::string memory(const PlanReport& report, const std::vector<const PlannedRank*>& ranks) {
  std::string text = ranks.size() == report.ranks.size()
                         ? "peak memory of each rank\n"
                         : "peak memory, of each pipeline position the rank that holds most\n";
  text += fmt::format("  {:>5} {:>3} {:>3} {:>3} {:>3}", "rank", "pp", "dp", "cp", "tp");
  for (const char* category : {"weights", "gradients", "optimizer", "activ.", "commun.", "worksp.", "total"})
    text += fmt::format(" {:>9}", category);
  text += '\n';
  for (const PlannedRank* rank : ranks) {
    text += fmt::format("  {:>5} {:>3} {:>3} {:>3} {:>3}", rank->rank, rank->place.pipeline, rank->place.data,
                        rank->place.context, rank->place.tensor);
    for (const size_t bytes : rank->peak_bytes) text += fmt::format(" {:>9}", human_bytes(bytes));
    text += fmt::format(" {:>9}\n", human_bytes(rank->peak_total_bytes));
  }
  size_t sum = 0;
  for (const PlannedRank& rank : report.ranks) sum += rank.peak_total_bytes;
  return text + fmt::format("  all ranks together: {}\n", human_bytes(sum));
}

std::string ranks_in_words(const std::vector<int>& ranks, int self) {
  std::vector<int> others;
  for (const int rank : ranks)
    if (rank != self) others.push_back(rank);
  if (others.size() <= 4) return fmt::format("{}", fmt::join(others, " "));
  return fmt::format("{} {} .. {} ({})", others[0], others[1], others.back(), others.size());
}

// Returns "data with 1 2 3: all_gather 3.00 MiB, ...", with one part per kind.
std::vector<std::string> parts_of(const PlannedTraffic& traffic, int self) {
  const bool neighbour = traffic.group == "pipeline" || traffic.group == "tied";
  const std::string group = traffic.group == "key_value" ? "key/value" : traffic.group;
  std::string head =
      fmt::format("{} {} {}: ", group, neighbour ? "to" : "with", ranks_in_words(traffic.ranks, self));
  std::vector<std::string> parts;
  for (const auto& [kind, bytes] : traffic.sent_bytes) {
    parts.push_back(fmt::format("{}{} {},", head, kind, human_bytes(static_cast<size_t>(bytes))));
    head.clear();
  }
  parts.back().back() = ';';
  return parts;
}

std::string communication(const std::vector<const PlannedRank*>& ranks) {
  std::string text;
  for (const PlannedRank* rank : ranks) {
    std::vector<std::string> parts;
    for (const PlannedTraffic& traffic : rank->traffic)
      for (std::string& part : parts_of(traffic, rank->rank)) parts.push_back(std::move(part));
    if (parts.empty()) continue;
    parts.back().pop_back();
    text += wrapped(fmt::format("  rank {:<4} ", rank->rank), parts);
  }
  return text.empty() ? text : "\nsent in a step\n" + text;
}

}  // namespace

std::string to_text(const PlanReport& report) {
  const std::vector<const PlannedRank*> ranks = shown(report);
  return heading(report) + step(report) + '\n' + schedule_and_stages(report) + '\n' + memory(report, ranks) +
         communication(ranks);
}

}  // namespace collie
