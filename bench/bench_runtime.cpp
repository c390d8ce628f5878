// Measures the cost of the runtime itself: a pipeline of 64 ranks and 256 micro-batches whose actions do
// nothing. Also measures how close pipelines of sleeping actions come to the simulator's times. Prints one
// line for each; no arguments.
#include <fmt/format.h>
#include <sys/resource.h>

#include <algorithm>

#include "base/clock.hpp"
#include "tests/actors/makespan.hpp"

namespace collie {
namespace {

using namespace test;

double seconds(const timeval& time) {
  return static_cast<double>(time.tv_sec) + 1e-6 * static_cast<double>(time.tv_usec);
}

// User and system time of the whole process.
double process_cpu_seconds() {
  rusage usage{};
  ::getrusage(RUSAGE_SELF, &usage);
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

void empty_actions(SpawnMode mode) {
  constexpr int ranks = 64, micro_batches = 256, repetitions = 5;
  const auto schedule = schedule::make_schedule("1f1b", {ranks, micro_batches, 1, false});
  caf::actor_system_config config;
  config.set("scheduler.policy", caf::atom("sharing"));  // the command's setting
  config.set("scheduler.max-threads", size_t{2});
  caf::actor_system system(config);
  SyntheticPipeline pipeline(system, schedule, {mode, 2, false, {}, {}});
  const auto lists = tasks_of(schedule);
  size_t tasks = 0;
  for (const auto& list : *lists) tasks += list.size();
  const double actions = 2.0 * ranks * micro_batches;  // F and B
  double best_cpu = 1e9, best_wall = 1e9;
  for (int i = 0; i < repetitions; ++i) {
    const double cpu = process_cpu_seconds(), wall = steady_seconds();
    pipeline.start(lists);
    pipeline.finish();
    best_cpu = std::min(best_cpu, process_cpu_seconds() - cpu);
    best_wall = std::min(best_wall, steady_seconds() - wall);
  }
  fmt::print(
      "empty actions, {} ranks, {} micro-batches, {:9}: {:.2f} us of process CPU an action (F or B with its "
      "sends and "
      "receives), {:.2f} us a task; wall {:.2f} us an action\n",
      ranks, micro_batches, mode == SpawnMode::detached ? "detached" : "scheduled", best_cpu / actions * 1e6,
      best_cpu / static_cast<double>(tasks) * 1e6, best_wall / actions * 1e6);
}

void sleeping_actions(const std::string& name, int ranks, int micro_batches) {
  constexpr int repetitions = 5;
  fmt::print(
      "F, I, W 5 ms, B 10 ms asleep, {} ({}, {}): measured makespan / simulated with measured durations "
      "{:.4f}\n",
      name, ranks, micro_batches, best_makespan(name, ranks, micro_batches, repetitions));
}

}  // namespace
}  // namespace collie

int main() {
  using namespace collie;
  empty_actions(SpawnMode::detached);
  empty_actions(SpawnMode::scheduled);
  for (const char* name : {"gpipe", "1f1b", "interleaved_1f1b", "zb_h1", "zbv", "dualpipe_v"}) {
    sleeping_actions(name, 4, 8);
    sleeping_actions(name, 8, 16);
    sleeping_actions(name, 8, 32);
  }
}
