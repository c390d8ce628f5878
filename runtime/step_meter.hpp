// Puts together what was measured of a step: what the ranks report of themselves, what processes take of
// their machines, and what the trainer waited for. It has no influence on the run, and knows no clock.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "runtime/messages.hpp"
#include "runtime/stragglers.hpp"

namespace collie {

struct MeterSettings {
  // Floating-point operations per second of all devices of the run at their peak; 0: not known.
  double peak_flops = 0;
  int devices = 1;           // GPUs, or processes that compute on CPUs
  bool tells_ranks = false;  // whether a sink wants the numbers of each rank
};

// A step, as the trainer knows it.
struct MeteredStep {
  int64_t step = 0;
  double step_s = 0;  // since the previous step, without evaluations
  int64_t tokens = 0;
  double flops = 0;  // of the model; 0: not known
};

class StepMeter {
 public:
  StepMeter(const Grid& grid, MeterSettings settings);

  void add(const RankStep& report);
  void add(const ProcessUse& use);

  // The trainer waits for data, or until the step before is recorded or saved. Waiting goes on until
  // go_on(). Times are those of one steady clock.
  enum class Wait : uint8_t { data, save };
  void wait(Wait what, double now_s);
  void go_on(double now_s);

  // What was measured since the last call. Reports that come later count for the next step.
  StepMeasures finish(const MeteredStep& step);
  // What people should know: which ranks have become slow.
  std::vector<std::string> take_news() { return stragglers_.take_news(); }

 private:
  struct Process {
    ProcessUse last;
    double read_per_second = 0, written_per_second = 0;
    bool has_rates = false;
  };

  void add_shares(double step_s, StepMeasures& measures) const;
  void add_traffic(double step_s, StepMeasures& measures) const;
  void add_memory(StepMeasures& measures) const;
  void add_processes(StepMeasures& measures) const;
  void add_ranks(const MeteredStep& step, StepMeasures& measures);

  Grid grid_;
  MeterSettings settings_;
  Stragglers stragglers_;
  std::vector<std::optional<RankStep>> reports_;   // [ranks] since the last step; empty: none came
  std::vector<std::vector<uint64_t>> peak_bytes_;  // [ranks][categories] as last reported
  std::map<uint64_t, Process> processes_;          // by ProcessUse::process
  std::optional<double> waits_since_s_;
  Wait waits_for_ = Wait::data;
  double data_wait_s_ = 0, save_wait_s_ = 0;  // since the last step
};

}  // namespace collie
