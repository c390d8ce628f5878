// PyTorch's CSV format of a pipeline schedule: torch/distributed/pipelining/schedules.py, _Action.from_str
// and PipelineScheduleMulti._load_csv.
#include <algorithm>
#include <array>
#include <cmath>
#include <string_view>

#include "base/error.hpp"
#include "schedule/simulator.hpp"

namespace collie::schedule {
namespace {

std::string_view trimmed(std::string_view text) {
  const auto begin = text.find_first_not_of(" \t\r");
  if (begin == std::string_view::npos) return {};
  return text.substr(begin, text.find_last_not_of(" \t\r") - begin + 1);
}

std::vector<std::string_view> split(std::string_view text, char separator) {
  std::vector<std::string_view> parts;
  while (true) {
    const auto end = text.find(separator);
    parts.push_back(text.substr(0, end));
    if (end == std::string_view::npos) return parts;
    text.remove_prefix(end + 1);
  }
}

// Actions of PyTorch's runtime that are not part of a schedule here: the stage asks for weights, reduces
// gradients and waits for its sends by its own rules.
bool is_left_out(std::string_view cell) {
  constexpr std::array<std::string_view, 6> kinds = {"UNSHARD",          "RESHARD",     "REDUCE_GRAD",
                                                     "WAIT_REDUCE_GRAD", "WAIT_SEND_F", "WAIT_SEND_B"};
  const auto begin = std::min(cell.find_first_not_of("0123456789"), cell.size());
  const auto end = cell.find_last_not_of("0123456789");
  if (begin == 0 || end == std::string_view::npos) return false;
  return std::find(kinds.begin(), kinds.end(), cell.substr(begin, end - begin + 1)) != kinds.end();
}

class Reader {
 public:
  Reader(std::string_view text, const std::string& where) : where_(where) {
    if (text.starts_with("\xEF\xBB\xBF")) text.remove_prefix(3);
    schedule_.name = where;
    auto rows = split(text, '\n');
    while (!rows.empty() && trimmed(rows.back()).empty()) rows.pop_back();
    if (rows.empty())
      throw UserError("{}: the file holds no schedule; it needs one row of actions per rank", where);
    for (const std::string_view row : rows) read_row(row);
  }

  Schedule finished() {
    schedule_.ranks = static_cast<int>(schedule_.lists.size());
    schedule_.stages = schedule_.micro_batches = 0;
    schedule_.forward_only = true;
    size_t actions = 0;
    for (const ActionList& list : schedule_.lists) {
      actions += list.size();
      for (const Action& action : list) count(action);
    }
    place_stages(actions);
    return std::move(schedule_);
  }

 private:
  void read_row(std::string_view row) {
    ActionList& list = schedule_.lists.emplace_back();
    std::vector<int>& columns = schedule_.columns.emplace_back();
    const size_t number = schedule_.lists.size();
    const auto cells = split(row, ',');
    for (size_t column = 0; column < cells.size(); ++column) {
      read_cell(trimmed(cells[column]), fmt::format("{}: row {}, column {}", where_, number, column + 1),
                list);
      columns.resize(list.size(), static_cast<int>(column));
    }
    if (list.empty()) throw UserError("{}: row {} (rank {}) holds no action", where_, number, number - 1);
  }

  static void read_cell(std::string_view cell, const std::string& here, ActionList& list) {
    if (cell.size() > 1 && cell.front() == '"' && cell.back() == '"') cell = cell.substr(1, cell.size() - 2);
    if (cell.empty() || is_left_out(cell)) return;
    constexpr std::string_view overlap = ")OVERLAP_F_B";
    if (cell.front() != '(' || !cell.ends_with(overlap)) {
      list.push_back(parse_action(std::string(cell), here));
      return;
    }
    for (const std::string_view part : split(cell.substr(1, cell.size() - 1 - overlap.size()), ';'))
      list.push_back(parse_action(std::string(trimmed(part)), here));
  }

  void count(const Action& action) {
    // One beyond the largest number, which fits an int only below the int's end. check_lists() finds what is
    // then out of range.
    constexpr int most = 1 << 30;
    schedule_.stages = std::max(schedule_.stages, std::min(action.stage, most) + 1);
    schedule_.micro_batches = std::max(schedule_.micro_batches, std::min(action.micro_batch, most) + 1);
    if (is_compute(action.kind) && action.kind != ActionKind::forward) schedule_.forward_only = false;
  }

  // A stage is on the rank of the row that names it first.
  void place_stages(size_t actions) {
    if (static_cast<size_t>(schedule_.stages) > actions)
      throw UserError("{}: stage {} is named, so there are {} stages, but only {} actions", where_,
                      schedule_.stages - 1, schedule_.stages, actions);
    schedule_.rank_of_stage.assign(static_cast<size_t>(schedule_.stages), -1);
    for (size_t rank = 0; rank < schedule_.lists.size(); ++rank) {
      for (const Action& action : schedule_.lists[rank]) {
        int& holder = schedule_.rank_of_stage[static_cast<size_t>(action.stage)];
        if (holder < 0) holder = static_cast<int>(rank);
      }
    }
    const auto unplaced = std::find(schedule_.rank_of_stage.begin(), schedule_.rank_of_stage.end(), -1);
    if (unplaced != schedule_.rank_of_stage.end())
      throw UserError("{}: stage {} is named, but stage {} is on no row", where_, schedule_.stages - 1,
                      unplaced - schedule_.rank_of_stage.begin());
  }

  const std::string& where_;
  Schedule schedule_;
};

std::string csv_of_lists(const Schedule& schedule) {
  std::string csv;
  for (const ActionList& list : schedule.lists) {
    for (size_t i = 0; i < list.size(); ++i) {
      if (i > 0) csv += ',';
      csv += to_string(list[i]);
    }
    csv += '\n';
  }
  return csv;
}

}  // namespace

std::string to_csv(const Schedule& schedule) {
  if (has_communication(schedule)) return csv_of_lists(schedule);
  const auto one_tick = [](const Action&) { return 1.0; };
  std::string csv;
  const Limits no_limits{schedule.micro_batches};  // only for showing the lists, not for whether they run
  for (const auto& rank : simulate(schedule, {}, no_limits, one_tick).ranks) {
    int column = 0;
    for (const TimedAction& timed : rank) {
      if (!is_compute(timed.action.kind)) continue;
      const int start = static_cast<int>(std::lround(timed.start));
      if (column > 0) csv += ',';
      for (; column < start; ++column) csv += ',';
      csv += to_string(timed.action);
      ++column;
    }
    csv += '\n';
  }
  return csv;
}

Schedule from_csv(const std::string& text, const std::string& where) {
  return Reader(text, where).finished();
}

}  // namespace collie::schedule
