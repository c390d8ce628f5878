#include "runtime/step_meter.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

namespace collie {

namespace {

// A rank may report twice in a step: of an estimate, or of a pass that measures the norm.
void add_to(std::optional<RankStep>& sum, const RankStep& report) {
  if (!sum) {
    sum = report;
    return;
  }
  sum->busy_s = sum->busy_s + report.busy_s;
  sum->communicating_s = sum->communicating_s + report.communicating_s;
  sum->sent_bytes += report.sent_bytes;
  sum->network_bytes += report.network_bytes;
}

double computing_s(const RankStep& report) {
  return std::max(0.0, report.busy_s - report.communicating_s);
}

}  // namespace

StepMeter::StepMeter(const Grid& grid, MeterSettings settings)
    : grid_(grid), settings_(settings), stragglers_(grid) {
  reports_.resize(static_cast<size_t>(grid.ranks()));
  peak_bytes_.resize(static_cast<size_t>(grid.ranks()));
}

void StepMeter::add(const RankStep& report) {
  const auto rank = static_cast<size_t>(report.rank);
  add_to(reports_.at(rank), report);
  peak_bytes_[rank] = report.peak_bytes;
  if (report.process.process != 0) add(report.process);
}

// Rates are those between two measurements of a process, on its own clock. Of the trainer's process two may
// follow each other closely, its own and that of a rank; between these a rate would be noise.
void StepMeter::add(const ProcessUse& use) {
  constexpr double least_s = 0.25;
  const auto [found, is_new] = processes_.try_emplace(use.process, Process{use, 0, 0, use.read_bytes >= 0});
  Process& process = found->second;
  const double passed_s = 1e-9 * static_cast<double>(use.at_ns - process.last.at_ns);
  if (is_new || passed_s < least_s) {
    process.last.resident_bytes = use.resident_bytes;
    process.last.most_resident_bytes = use.most_resident_bytes;
    return;
  }
  if (use.read_bytes >= 0 && process.last.read_bytes >= 0) {
    process.read_per_second = static_cast<double>(use.read_bytes - process.last.read_bytes) / passed_s;
    process.written_per_second =
        static_cast<double>(use.written_bytes - process.last.written_bytes) / passed_s;
  }
  process.last = use;
}

void StepMeter::wait(Wait what, double now_s) {
  if (waits_since_s_ && waits_for_ == what) return;
  go_on(now_s);
  waits_since_s_ = now_s;
  waits_for_ = what;
}

void StepMeter::go_on(double now_s) {
  if (!waits_since_s_) return;
  (waits_for_ == Wait::data ? data_wait_s_ : save_wait_s_) += now_s - *std::exchange(waits_since_s_, {});
}

StepMeasures StepMeter::finish(const MeteredStep& step) {
  StepMeasures measures;
  if (step.step_s > 0) {
    add_shares(step.step_s, measures);
    add_traffic(step.step_s, measures);
    measures.tokens_per_second_per_device =
        static_cast<double>(step.tokens) / step.step_s / settings_.devices;
    if (step.flops > 0) measures.model_flops_per_second = step.flops / step.step_s;
    if (step.flops > 0 && settings_.peak_flops > 0)
      measures.mfu = step.flops / step.step_s / settings_.peak_flops;
  }
  add_memory(measures);
  add_processes(measures);
  add_ranks(step, measures);
  std::fill(reports_.begin(), reports_.end(), std::nullopt);
  data_wait_s_ = save_wait_s_ = 0;
  return measures;
}

// Shares are means over the ranks. What is left is the time in which ranks waited for each other.
void StepMeter::add_shares(double step_s, StepMeasures& measures) const {
  const double data = std::min(1.0, data_wait_s_ / step_s);
  measures.data_wait_share = data;
  double computing = 0, communicating = 0;
  int ranks = 0;
  for (const auto& report : reports_) {
    if (!report || !report->timed) continue;
    computing += computing_s(*report);
    communicating += report->communicating_s;
    ++ranks;
  }
  if (ranks == 0) return;
  const double whole = step_s * ranks, save = std::min(1.0 - data, save_wait_s_ / step_s);
  measures.save_wait_share = save;
  // A report covers nearly the time of the step, and not just that, so the sum is held to the whole.
  const double busy_share = std::min(1.0 - data - save, (computing + communicating) / whole);
  const double of_busy = computing + communicating > 0 ? communicating / (computing + communicating) : 0;
  measures.communication_share = busy_share * of_busy;
  measures.compute_share = busy_share * (1 - of_busy);
  measures.bubble_share = std::max(0.0, 1.0 - data - save - busy_share);
}

void StepMeter::add_traffic(double step_s, StepMeasures& measures) const {
  if (grid_.ranks() == 1) return;
  int64_t sent = 0, over_network = 0;
  bool any = false;
  for (const auto& report : reports_) {
    if (!report) continue;
    any = true;
    sent += report->sent_bytes;
    over_network += report->network_bytes;
  }
  if (!any) return;
  measures.sent_bytes_per_second = static_cast<double>(sent) / step_s;
  measures.network_bytes_per_second = static_cast<double>(over_network) / step_s;
}

void StepMeter::add_memory(StepMeasures& measures) const {
  for (const std::vector<uint64_t>& of_rank : peak_bytes_) {
    if (of_rank.size() > measures.peak_bytes.size()) measures.peak_bytes.resize(of_rank.size());
    for (size_t category = 0; category < of_rank.size(); ++category)
      measures.peak_bytes[category] = std::max(measures.peak_bytes[category], of_rank[category]);
  }
}

void StepMeter::add_processes(StepMeasures& measures) const {
  double read = 0, written = 0;
  bool has_rates = false;
  int64_t resident = -1, most_resident = -1;
  for (const auto& [number, process] : processes_) {
    resident = std::max(resident, process.last.resident_bytes);
    most_resident = std::max(most_resident, process.last.most_resident_bytes);
    has_rates = has_rates || process.has_rates;
    read += process.read_per_second;
    written += process.written_per_second;
  }
  if (resident >= 0) measures.resident_bytes = static_cast<double>(resident);
  if (most_resident >= 0) measures.most_resident_bytes = static_cast<double>(most_resident);
  if (!has_rates) return;
  measures.disk_read_bytes_per_second = read;
  measures.disk_written_bytes_per_second = written;
}

void StepMeter::add_ranks(const MeteredStep& step, StepMeasures& measures) {
  std::vector<double> all(reports_.size(), std::numeric_limits<double>::quiet_NaN());
  bool any = false;
  for (size_t rank = 0; rank < reports_.size(); ++rank) {
    const auto& report = reports_[rank];
    if (!report) continue;
    if (report->timed) all[rank] = computing_s(*report);
    any = any || report->timed;
    if (settings_.tells_ranks)
      measures.ranks.push_back({report->rank, report->timed ? DoubleBits(all[rank]) : not_measured,
                                report->timed ? report->communicating_s : not_measured, report->peak_bytes});
  }
  if (!any || !stragglers_.watches()) return;
  stragglers_.add(step.step, step.step_s, all);
  measures.watches_ranks = true;
  measures.slow_ranks = stragglers_.slow();
}

}  // namespace collie
