// The processor time that monitoring takes of a step, part by part. Other programs at work do not change it
// much, so it says more on a busy machine than the time of whole steps (bench/monitoring_cost.py).
#include <benchmark/benchmark.h>
#include <stdlib.h>

#include <filesystem>

#include "runtime/sinks/sink.hpp"
#include "runtime/step_meter.hpp"
#include "runtime/step_record.hpp"

namespace collie::bench {
namespace {

Grid grid_of(int64_t replicas) {
  Grid grid;
  grid.data = static_cast<int>(replicas);
  return grid;
}

RankStep report_of(int rank) {
  RankStep report;
  report.rank = rank;
  report.busy_s = 0.2 + 0.001 * (rank % 7);
  report.communicating_s = 0.05;
  report.sent_bytes = 1 << 20;
  report.peak_bytes.assign(category_count, 1 << 20);
  return report;
}

StepFinished step_of(int64_t number, int ranks, bool tells_ranks) {
  StepMeter meter(grid_of(ranks), {1e12, 1, tells_ranks});
  meter.add(use_of_this_process());
  for (int rank = 0; rank < ranks; ++rank) meter.add(report_of(rank));
  StepFinished step;
  step.step = number;
  step.loss = 2.5;
  step.step_s = 0.25;
  step.measures = meter.finish({number, 0.25, 1024, 1e9});
  return step;
}

// What a process's first rank reads of the kernel, at most twice per second.
void process_use(benchmark::State& state) {
  for (auto _ : state) benchmark::DoNotOptimize(use_of_this_process());
}

// All ranks' reports of a step, and the numbers that the trainer makes of them.
void meter(benchmark::State& state) {
  StepMeter meter(grid_of(state.range(0)), {1e12, 1, false});
  std::vector<RankStep> reports;
  for (int rank = 0; rank < state.range(0); ++rank) reports.push_back(report_of(rank));
  int64_t step = 0;
  for (auto _ : state) {
    for (const RankStep& report : reports) meter.add(report);
    benchmark::DoNotOptimize(meter.finish({++step, 0.25, 1024, 1e9}));
  }
}

// One sink's record of a step, the event included.
void sink(benchmark::State& state, const std::string& name) {
  std::string folder = (std::filesystem::temp_directory_path() / "collie-bench-XXXXXX").string();
  if (::mkdtemp(folder.data()) == nullptr) return state.SkipWithError("no folder");
  Config config;
  config.run.name = "bench";
  config.run.dir = folder;
  config.monitor.prometheus = "127.0.0.1:9478";
  const auto made = sinks().find(name).make({config, folder, "bench", 0, 1'000'000});
  StepFinished step = step_of(1, static_cast<int>(state.range(0)), name == "prometheus");
  for (auto _ : state) {
    ++step.step;
    made->write(event_of(step));
  }
  std::filesystem::remove_all(folder);
}

}  // namespace

BENCHMARK(process_use);
BENCHMARK(meter)->Arg(2)->Arg(64)->Arg(1024);
BENCHMARK_CAPTURE(sink, metrics, "metrics")->Arg(4)->Iterations(2000);
BENCHMARK_CAPTURE(sink, csv, "csv")->Arg(4)->Iterations(2000);
BENCHMARK_CAPTURE(sink, tensorboard, "tensorboard")->Arg(4)->Iterations(2000);
BENCHMARK_CAPTURE(sink, prometheus, "prometheus")->Arg(4)->Arg(64)->Iterations(2000);

}  // namespace collie::bench

BENCHMARK_MAIN();
