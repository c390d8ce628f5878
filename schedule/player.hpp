// Plays all lists against each other. Only this code knows when an action may go on. The validator asks it
// whether the lists end, the simulator when.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "schedule/action.hpp"
#include "schedule/validator.hpp"

namespace collie::schedule {

// The time from when the list reached the action until the list could go on.
struct Span {
  double start = 0, end = 0;
};

// An action that never went on, and the reason.
struct Stuck {
  int rank = 0;
  size_t index = 0;
  std::string waits_for;
};

struct Played {
  std::vector<std::vector<Span>> spans;  // [ranks][actions that went on]
  std::vector<Stuck> stuck;              // empty: every list ended
};

// `schedule` has communication and passed check_lists(). Each rank does its list in order:
//  - A compute action takes duration(action).
//  - A send waits until fewer than limits.credits sends of its channel are un-received. The message can be
//    received `communication` later. With 0 credits the send waits until the receiver reaches the receive,
//    and only then is it sent.
//  - A receive waits for its message and takes it out of the channel.
// Every time is a maximum of sums of durations, whatever order the ranks are looked at in. So times are exact
// if their sums are. The lists' ends do not depend on that order either: if any order of play ends all lists,
// this one does.
Played play(const Schedule& schedule, const Limits& limits, double communication,
            const std::function<double(const Action&)>& duration);

// Throws a UserError that names every stuck rank, its action and what the action waits for.
void refuse_deadlock(const Schedule& schedule, const Limits& limits, const Played& played);

// The part of validate() that checks the lists without playing them.
void check_lists(const Schedule& schedule);

}  // namespace collie::schedule
