// What the schedule's tests share.
#pragma once

#include <functional>
#include <sstream>
#include <string>

#include "base/error.hpp"
#include "schedule/action.hpp"

namespace collie::schedule::test {

inline std::string text_of(const ActionList& list) {
  std::string text;
  for (const Action& action : list) {
    if (!text.empty()) text += ' ';
    text += to_string(action);
  }
  return text;
}

// "0F0 0B0": actions separated by blanks.
inline ActionList list_of(const std::string& text) {
  ActionList list;
  std::istringstream words(text);
  for (std::string word; words >> word;) list.push_back(parse_action(word, "list_of"));
  return list;
}

// One list per rank; stages are on the rank that names them first.
inline Schedule schedule_of(const std::string& name, int stages, int micro_batches,
                            const std::vector<std::string>& lists) {
  Schedule schedule;
  schedule.name = name;
  schedule.ranks = static_cast<int>(lists.size());
  schedule.stages = stages;
  schedule.micro_batches = micro_batches;
  schedule.rank_of_stage.assign(static_cast<size_t>(stages), -1);
  for (size_t rank = 0; rank < lists.size(); ++rank) {
    schedule.lists.push_back(list_of(lists[rank]));
    for (const Action& action : schedule.lists.back()) {
      if (action.stage < 0 || action.stage >= stages) continue;
      int& holder = schedule.rank_of_stage[static_cast<size_t>(action.stage)];
      if (holder < 0) holder = static_cast<int>(rank);
    }
  }
  return schedule;
}

// What the UserError said; a test fails on the words of this where none was thrown.
inline std::string user_error(const std::function<void()>& call) {
  try {
    call();
  } catch (const UserError& error) {
    return error.what();
  }
  return "(no UserError was thrown)";
}

}  // namespace collie::schedule::test
