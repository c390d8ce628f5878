// Schedules are functions from sizes to action lists.
#pragma once

#include <functional>
#include <limits>
#include <string>
#include <vector>

#include "base/registry.hpp"
#include "schedule/action.hpp"
#include "schedule/validator.hpp"

namespace collie::schedule {

struct Sizes {
  int ranks = 1;                // pipeline ranks, p
  int micro_batches = 1;        // m
  int virtual_stages = 1;       // stages per rank, exactly: see stages_per_rank()
  bool split_backward = false;  // I and W instead of B
};

// Compute actions only (F, B or I and W).
using ScheduleFunction = std::function<Schedule(const Sizes&)>;

// Says how many stages a rank holds, and which.
struct StageRule {
  int least = 1, most = std::numeric_limits<int>::max();
  // true: there are two stages per rank; stage s is on rank s and, on the way back, on rank 2 ranks - 1 - s.
  // false: stage s is on rank s mod ranks.
  bool v_shape = false;
};

struct NamedSchedule {
  ScheduleFunction lists;
  StageRule stages = {};
};

// The built-in schedules, with p ranks and m micro-batches. Idle times are per rank. F, B (of the input
// alone) and W are those of all stages of a rank together:
//
//  name              stages per rank  source                 idle time, no communication   fewest m
//  gpipe             1              Huang, 1811.06965      (p-1)(F+B+W)                  1
//  1f1b              1              Narayanan, 2104.04473  (p-1)(F+B+W)                  1
//  interleaved_1f1b  v >= 2         Narayanan, 2104.04473  (p-1)(F+B+W)/v, p divides m   1
//  zb_h1             1              Qi, 2401.10241         (p-1) max(F+B-W, F, B), m>=p  1
//  zbv               2, a V         Qi, 2405.15362         (p-1)F/2, F=B=W, m >= p       1
//  dualpipe_v        2, a V         DeepSeek's DualPipe    (p-1)F/2, F=B=W               2p-1
//
// gpipe's backward goes in micro-batch order, so that gradients add up in that order. zb_h1 and zbv always
// split the backward, and dualpipe_v does in places. In the others split_backward gives I directly followed
// by W.
Registry<NamedSchedule>& schedules();

// The number of stages per rank that `requested` (parallel.virtual_stages) means for a schedule. 1, the
// default, is the schedule's own number: two for interleaved_1f1b, zbv and dualpipe_v, the file's number for
// a CSV file, else one. Any other number must be one that the schedule can have. Throws UserError otherwise,
// for an unknown name, and for a file that cannot be read or whose ranks do not hold equally many stages.
int stages_per_rank(const std::string& name, int requested);

// The rank of each stage, before there are lists. [ranks · virtual_stages]. `virtual_stages` is the result of
// stages_per_rank(). Throws UserError if the schedule cannot have it, or if a CSV file has other sizes.
std::vector<int> rank_of_stage(const std::string& name, int ranks, int virtual_stages);

// A schedule by name, or from a file if the name ends in ".csv". Such a file must agree with `sizes`, and its
// B become I and W if split_backward asks for it. The result is validated (see validator.hpp). Throws
// UserError for sizes below 1 or that the schedule does not have, for an unknown name, and for whatever is
// wrong with the file.
Schedule make_schedule(const std::string& name, const Sizes& sizes, const Limits& limits = {});

// Says whether `name` is a CSV file's and not a registered schedule's.
bool names_a_file(const std::string& name);

// A CSV file's schedule, with the sizes in the file, validated. Throws UserError if it cannot be read.
Schedule read_schedule_file(const std::string& path, const Limits& limits = {});

// F of every micro-batch in order, for evaluation and generation. The later stage comes first, so that
// micro-batches leave as soon as they can. An F starts only if the channel that it fills is empty, so that
// the lists run with one credit whatever the placement is. [stages], ranks from 0 without gaps.
Schedule forward_only(const std::vector<int>& rank_of_stage, int micro_batches);
// The same with one stage per rank.
Schedule forward_only(int ranks, int micro_batches);

// Replaces every B by I directly followed by W.
Schedule with_split_backward(Schedule schedule);

// Adds the sends and receives: a receive right before the action that needs it, a send right after the action
// that made it, and none between stages on the same rank. A schedule that has them already is returned as it
// is.
Schedule with_communication(const Schedule& compute_only);

}  // namespace collie::schedule
