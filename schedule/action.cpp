#include "schedule/action.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <string_view>

#include "base/error.hpp"
#include "base/quote.hpp"

namespace collie::schedule {
namespace {

constexpr std::array<std::string_view, action_kind_count> kind_names = {
    "F", "B", "I", "W", "SEND_F", "RECV_F", "SEND_B", "RECV_B"};

// Takes a number off the front of `text`; returns false if there is none or it does not fit.
bool take_number(std::string_view& text, int& number) {
  if (text.empty() || text.front() < '0' || text.front() > '9') return false;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc()) return false;
  text.remove_prefix(static_cast<size_t>(end - text.data()));
  return true;
}

bool goes_forward(ActionKind kind) {
  return kind == ActionKind::send_forward || kind == ActionKind::receive_forward;
}

}  // namespace

bool is_compute(ActionKind kind) {
  return kind <= ActionKind::backward_weight;
}

bool is_send(ActionKind kind) {
  return kind == ActionKind::send_forward || kind == ActionKind::send_backward;
}

bool is_receive(ActionKind kind) {
  return kind == ActionKind::receive_forward || kind == ActionKind::receive_backward;
}

std::string to_string(const Action& action) {
  return fmt::format("{}{}{}", action.stage, kind_names[static_cast<size_t>(action.kind)],
                     action.micro_batch);
}

Action parse_action(const std::string& text, const std::string& where) {
  std::string_view rest = text;
  Action action;
  bool good = take_number(rest, action.stage);
  const auto digits = std::min(rest.find_first_of("0123456789"), rest.size());
  const auto kind = std::find(kind_names.begin(), kind_names.end(), rest.substr(0, digits));
  good = good && kind != kind_names.end();
  rest.remove_prefix(digits);
  good = good && take_number(rest, action.micro_batch) && rest.empty();
  if (!good)
    throw UserError(
        "{}: '{}' is not an action; an action is <stage><F|B|I|W|SEND_F|RECV_F|SEND_B|RECV_B><micro-batch>, "
        "such as 2F0",
        where, shortened(text));
  action.kind = static_cast<ActionKind>(kind - kind_names.begin());
  return action;
}

Edge edge_of(const Action& communication) {
  COLLIE_ASSERT(!is_compute(communication.kind), "{} has no edge", to_string(communication));
  const int step = goes_forward(communication.kind) ? 1 : -1;
  const int from = is_send(communication.kind) ? communication.stage : communication.stage - step;
  return {from, from + step};
}

Action counterpart(const Action& communication) {
  const Edge edge = edge_of(communication);
  switch (communication.kind) {
    case ActionKind::send_forward:
      return {ActionKind::receive_forward, edge.to_stage, communication.micro_batch};
    case ActionKind::receive_forward:
      return {ActionKind::send_forward, edge.from_stage, communication.micro_batch};
    case ActionKind::send_backward:
      return {ActionKind::receive_backward, edge.to_stage, communication.micro_batch};
    default:
      return {ActionKind::send_backward, edge.from_stage, communication.micro_batch};
  }
}

bool has_communication(const Schedule& schedule) {
  return std::any_of(schedule.lists.begin(), schedule.lists.end(), [](const ActionList& list) {
    return std::any_of(list.begin(), list.end(),
                       [](const Action& action) { return !is_compute(action.kind); });
  });
}

std::string place(const Schedule& schedule, int rank, size_t index) {
  const auto r = static_cast<size_t>(rank);
  if (r < schedule.columns.size() && index < schedule.columns[r].size())
    return fmt::format("row {} (rank {}), column {}", rank + 1, rank, schedule.columns[r][index] + 1);
  return fmt::format("rank {}, index {}", rank, index);
}

}  // namespace collie::schedule
