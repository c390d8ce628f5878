// How long a pipeline of sleeping actors takes against the simulator, which is given what their actions took:
// for the test and for the benchmark. Included by files that include CAF anyway.
#pragma once

#include <algorithm>
#include <chrono>
#include <map>
#include <string>
#include <thread>
#include <vector>

#include "schedule/simulator.hpp"
#include "tests/actors/synthetic_pipeline.hpp"
#include "tests/actors/threaded_config.hpp"

namespace collie::test {

// F 5 ms, I 5 ms, W 5 ms, B 10 ms, asleep: any number of ranks does so at once on any number of processors.
inline void sleep_through(const Task& task) {
  const bool whole = task.action.kind == schedule::ActionKind::backward;
  std::this_thread::sleep_for(std::chrono::milliseconds(whole ? 10 : 5));
}

// From the first action's start to the last one's end, over what the simulator makes of the same durations.
inline double makespan_over_simulated(const std::vector<ProgramDone>& done,
                                      const schedule::Schedule& schedule, int credits) {
  std::map<std::string, double> duration;
  double first = 1e300, last = 0;
  for (const auto& rank : done)
    for (const auto& span : rank.spans) {
      duration[span.task] = span.end_s - span.start_s;
      first = std::min<double>(first, span.start_s);
      last = std::max<double>(last, span.end_s);
    }
  const auto timeline = schedule::simulate(schedule, {}, {credits}, [&](const schedule::Action& action) {
    return duration.at(schedule::to_string(action));
  });
  return (last - first) / timeline.makespan;
}

// The best of at most `repetitions`; none after one that is at most `enough`.
inline double best_makespan(const std::string& name, int ranks, int micro_batches, int repetitions,
                            double enough = 0) {
  constexpr int credits = 2;
  const auto schedule = schedule::make_schedule(
      name, {ranks, micro_batches, schedule::stages_per_rank(name, 1), false}, {credits});
  ThreadedConfig config;
  caf::actor_system system(config);
  SyntheticPipeline pipeline(system, schedule, {SpawnMode::detached, credits, true, {}, sleep_through});
  const auto lists = tasks_of(schedule);
  double best = 1e9;
  for (int i = 0; i < repetitions && best > enough; ++i) {
    pipeline.start(lists);
    best = std::min(best, makespan_over_simulated(pipeline.finish(), schedule, credits));
  }
  return best;
}

}  // namespace collie::test
