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
  int virtual_stages = 1;       // stages a rank, exactly: see stages_a_rank()
  bool split_backward = false;  // I and W instead of B
};

// Compute actions only (F, B or I and W).
using ScheduleFunction = std::function<Schedule(const Sizes&)>;

// How many stages a rank holds, and which.
struct StageRule {
  int least = 1, most = std::numeric_limits<int>::max();
  // true: two stages a rank, stage s on rank s and, on the way back, on rank 2 ranks - 1 - s. false: stage s
  // on rank s mod ranks.
  bool v_shape = false;
};

struct NamedSchedule {
  ScheduleFunction lists;
  StageRule stages = {};
};

// Built in, with p ranks and m micro-batches; idle times are a rank's, F, B (of the input alone) and W those
// of all stages of a rank together:
//
//  name              stages a rank  source                 idle time, no communication   fewest m
//  gpipe             1              Huang, 1811.06965      (p-1)(F+B+W)                  1
//  1f1b              1              Narayanan, 2104.04473  (p-1)(F+B+W)                  1
//  interleaved_1f1b  v >= 2         Narayanan, 2104.04473  (p-1)(F+B+W)/v, p divides m   1
//  zb_h1             1              Qi, 2401.10241         (p-1) max(F+B-W, F, B), m>=p  1
//  zbv               2, a V         Qi, 2405.15362         (p-1)F/2, F=B=W, m >= p       1
//  dualpipe_v        2, a V         DeepSeek's DualPipe    (p-1)F/2, F=B=W               2p-1
//
// gpipe's backward goes in micro-batch order, so that gradients add up in it. zb_h1 and zbv always split the
// backward, dualpipe_v does in places; in the others split_backward gives I directly followed by W.
Registry<NamedSchedule>& schedules();

// What `requested` (parallel.virtual_stages) means for a schedule: 1, the default, is the schedule's own
// number (two for interleaved_1f1b, zbv and dualpipe_v, else one; for a CSV file what the file has), any
// other must be one that it can have. UserError otherwise, for an unknown name, and for a file that cannot be
// read or whose ranks do not hold equally many stages.
int stages_a_rank(const std::string& name, int requested);

// The rank of each stage, before there are lists. [ranks · virtual_stages]. `virtual_stages` as
// stages_a_rank() gave it; UserError where the schedule cannot have it, or where a CSV file has other sizes.
std::vector<int> rank_of_stage(const std::string& name, int ranks, int virtual_stages);

// A schedule by name, or from a file where the name ends in ".csv"; such a file must agree with `sizes`, and
// its B become I and W where split_backward asks for it. Validated (see validator.hpp). UserError for sizes
// below 1 or that the schedule does not have, for an unknown name, and for whatever is wrong with the file.
Schedule make_schedule(const std::string& name, const Sizes& sizes, const Limits& limits = {});

// A CSV file's schedule, its sizes taken from the file, validated. UserError where it cannot be read.
Schedule read_schedule_file(const std::string& path, const Limits& limits = {});

// F of every micro-batch in order: evaluation and generation. The later stage first, so that micro-batches
// leave as soon as they can, and only into an empty channel, so that the lists run with one credit whatever
// the placement is. [stages], ranks from 0 without gaps.
Schedule forward_only(const std::vector<int>& rank_of_stage, int micro_batches);
// One stage a rank.
Schedule forward_only(int ranks, int micro_batches);

// Every B becomes I directly followed by W.
Schedule with_split_backward(Schedule schedule);

// Adds the sends and receives: a receive right before the action that needs it, a send right after the action
// that made it. None between stages on the same rank. A schedule that has them already is returned as it is.
Schedule with_communication(const Schedule& compute_only);

}  // namespace collie::schedule
