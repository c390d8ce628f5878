// Stage actors under CAF's test coordinator: what takes time is synthetic, the clock is virtual, and the
// makespan of a program must be the simulator's to the nanosecond.
#include <caf/scheduler/test_coordinator.hpp>
#include <cmath>

#include "schedule/simulator.hpp"
#include "tests/actors/synthetic_pipeline.hpp"
#include "tests/actors/virtual_system.hpp"
#include "tests/catch.hpp"
#include "tests/paths.hpp"

namespace collie::test {
namespace {

using schedule::Action;
using schedule::ActionKind;
using schedule::Schedule;

// Seconds; sums of these are exact in binary, and whole nanoseconds.
struct TaskCosts {
  double forward = 0.5, backward_input = 0.75, backward_weight = 0.375;

  double operator()(const Action& action) const {
    switch (action.kind) {
      case ActionKind::forward:
        return forward;
      case ActionKind::backward:
        return backward_input + backward_weight;
      case ActionKind::backward_input:
        return backward_input;
      case ActionKind::backward_weight:
        return backward_weight;
      default:
        return 0;
    }
  }
};

// Nanoseconds from the first program's start to the last one's end.
int64_t virtual_makespan(const Schedule& schedule, int credits,
                         const std::function<double(const Action&)>& cost, bool update = false,
                         int programs = 1) {
  VirtualSystem virtual_system;
  SyntheticSettings settings;
  settings.mode = SpawnMode::scheduled;
  settings.credits = credits;
  settings.delay_s = [cost](const Task& task) {
    return task.kind == TaskKind::pipeline && is_compute(task.action.kind) ? cost(task.action) : 0.0;
  };
  int64_t nanoseconds = 0;
  {
    SyntheticPipeline pipeline(virtual_system.system, schedule, settings, [&] { virtual_system.step(); });
    const auto lists = tasks_of(schedule, update);
    const int64_t start = virtual_system.now_ns();
    for (int i = 0; i < programs; ++i) {
      pipeline.start(lists);
      pipeline.finish();
    }
    nanoseconds = virtual_system.now_ns() - start;
  }
  virtual_system.run();
  return nanoseconds;
}

int64_t simulated_makespan(const Schedule& schedule, int credits,
                           const std::function<double(const Action&)>& cost) {
  return std::llround(simulate(schedule, {}, {credits}, cost).makespan * 1e9);
}

TEST_CASE("virtual time: the stages' makespan is the simulator's", "[actors][virtual]") {
  const std::string name = GENERATE("gpipe", "1f1b", "interleaved_1f1b", "zb_h1", "zbv", "dualpipe_v");
  const bool split = GENERATE(false, true);
  const auto [ranks, micro_batches] =
      GENERATE(std::pair(1, 4), std::pair(2, 2), std::pair(4, 8), std::pair(8, 3), std::pair(8, 32));
  const int credits = GENERATE(1, 2, 5);
  CAPTURE(name, split, ranks, micro_batches, credits);
  if (name == "dualpipe_v" && micro_batches < 2 * ranks - 1) return;  // it cannot
  const Schedule schedule = schedule::make_schedule(
      name, {ranks, micro_batches, schedule::stages_per_rank(name, 1), split}, {credits});
  CHECK(virtual_makespan(schedule, credits, TaskCosts{}) ==
        simulated_makespan(schedule, credits, TaskCosts{}));
}

TEST_CASE("virtual time: 64 ranks and 256 micro-batches", "[actors][virtual]") {
  const std::string name = GENERATE("gpipe", "1f1b");
  CAPTURE(name);
  const Schedule schedule = schedule::make_schedule(name, {64, 256, 1, false}, {2});
  const int64_t measured = virtual_makespan(schedule, 2, TaskCosts{});
  CHECK(measured == simulated_makespan(schedule, 2, TaskCosts{}));
  // (m + p - 1) (F + B), both schedules' published makespan.
  CHECK(measured == std::llround((256 + 64 - 1) * (0.5 + 0.75 + 0.375) * 1e9));
}

TEST_CASE("virtual time: 64 ranks and 256 micro-batches of every schedule", "[actors][virtual][slow]") {
  const std::string name = GENERATE("interleaved_1f1b", "zb_h1", "zbv", "dualpipe_v");
  CAPTURE(name);
  const Schedule schedule =
      schedule::make_schedule(name, {64, 256, schedule::stages_per_rank(name, 1), false}, {2});
  CHECK(virtual_makespan(schedule, 2, TaskCosts{}) == simulated_makespan(schedule, 2, TaskCosts{}));
}

TEST_CASE("virtual time: actions of different lengths, one stage slower than the others",
          "[actors][virtual]") {
  const auto cost = [](const Action& action) {
    const double slower = action.stage == 2 ? 2.0 : 1.0;
    return slower * TaskCosts{}(action) + 0.125 * (action.micro_batch % 3);
  };
  const std::string name = GENERATE("gpipe", "1f1b");
  const int credits = GENERATE(1, 2, 3);
  CAPTURE(name, credits);
  const Schedule schedule = schedule::make_schedule(name, {4, 12, 1, true}, {credits});
  CHECK(virtual_makespan(schedule, credits, cost) == simulated_makespan(schedule, credits, cost));
}

TEST_CASE("virtual time: two stages per rank, from a file", "[actors][virtual]") {
  const std::string file = GENERATE("schedule_interleaved_1f1b_2_4.csv", "schedule_dualpipe_v_2_4.csv");
  CAPTURE(file);
  const Schedule schedule = schedule::read_schedule_file(golden_file(file), {2});
  REQUIRE(schedule.stages == 2 * schedule.ranks);
  CHECK(virtual_makespan(schedule, 2, TaskCosts{}) == simulated_makespan(schedule, 2, TaskCosts{}));
}

TEST_CASE("virtual time: the end of a step takes none, and programs follow one another",
          "[actors][virtual]") {
  const Schedule schedule = schedule::make_schedule("1f1b", {4, 8, 1, false}, {2});
  CHECK(virtual_makespan(schedule, 2, TaskCosts{}, true, 3) ==
        3 * simulated_makespan(schedule, 2, TaskCosts{}));
}

TEST_CASE("virtual time: a stage that waits says for what, and from whom", "[actors][virtual]") {
  VirtualSystem virtual_system;
  const Schedule schedule = schedule::make_schedule("1f1b", {2, 2, 1, false}, {2});
  SyntheticSettings settings;
  settings.mode = SpawnMode::scheduled;
  settings.delay_s = [](const Task& task) {
    return task.kind == TaskKind::pipeline && is_compute(task.action.kind) ? 1.0 : 0.0;
  };
  {
    SyntheticPipeline pipeline(virtual_system.system, schedule, settings, [&] { virtual_system.step(); });
    pipeline.start(tasks_of(schedule));
    virtual_system.run();  // until nothing more can happen at this moment: rank 0 is in its first forward
    CHECK(pipeline.statuses()[1]->get().what ==
          "waits for activation from stage 0 to stage 1 of micro-batch 0 from rank 0");
    CHECK(pipeline.statuses()[1]->get().phase == RankStatus::Phase::waiting);
    pipeline.finish();
    virtual_system.run();
  }
  virtual_system.run();
}

}  // namespace
}  // namespace collie::test
