// What becomes of the ranks' and processes' reports of a step.
#include "runtime/step_meter.hpp"

#include <cmath>

#include "kernels/memory.hpp"
#include "tests/catch.hpp"

namespace collie::test {
namespace {

Grid two_replicas() {
  Grid grid;
  grid.data = 2;
  return grid;
}

RankStep report_of(int rank, double busy_s, double communicating_s) {
  RankStep report;
  report.rank = rank;
  report.busy_s = busy_s;
  report.communicating_s = communicating_s;
  return report;
}

double sum_of_shares(const StepMeasures& measures) {
  return measures.compute_share + measures.communication_share + measures.bubble_share +
         measures.data_wait_share + measures.save_wait_share;
}

bool is_known(double value) {
  return !std::isnan(value);
}

}  // namespace

TEST_CASE("step meter: shares of a step's time are means over the ranks, and 1 together", "[monitor]") {
  StepMeter meter(two_replicas(), {});
  meter.wait(StepMeter::Wait::save, 10.0);
  meter.go_on(10.1);
  meter.wait(StepMeter::Wait::data, 10.1);
  meter.wait(StepMeter::Wait::data, 10.2);  // it still waits
  meter.go_on(10.3);
  meter.go_on(10.9);  // nothing was waited for
  meter.add(report_of(0, 1.0, 0.2));
  meter.add(report_of(1, 0.5, 0.1));
  meter.add(report_of(1, 0.3, 0.1));  // of a second pass
  const StepMeasures measures = meter.finish({1, 2.0, 100, 0});
  CHECK(measures.data_wait_share == Approx(0.1));
  CHECK(measures.save_wait_share == Approx(0.05));
  CHECK(measures.compute_share == Approx((0.8 + 0.6) / 4));
  CHECK(measures.communication_share == Approx(0.4 / 4));
  CHECK(sum_of_shares(measures) == Approx(1.0));
  CHECK(measures.tokens_per_second_per_device == Approx(50.0));
  // Nothing of it counts twice.
  const StepMeasures next = meter.finish({2, 1.0, 100, 0});
  CHECK(next.data_wait_share == 0.0);
  CHECK_FALSE(is_known(next.compute_share));
  CHECK_FALSE(is_known(next.bubble_share));
}

TEST_CASE("step meter: ranks that report more than the step's time leave no negative share", "[monitor]") {
  StepMeter meter(two_replicas(), {});
  meter.wait(StepMeter::Wait::data, 0);
  meter.go_on(0.5);
  meter.add(report_of(0, 1.2, 0.3));
  meter.add(report_of(1, 1.2, 0.3));
  const StepMeasures measures = meter.finish({1, 1.0, 1, 0});
  CHECK(measures.bubble_share == 0.0);
  CHECK(sum_of_shares(measures) == Approx(1.0));
}

TEST_CASE("step meter: times of hosts that queue work for a device are no shares", "[monitor]") {
  StepMeter meter(two_replicas(), {});
  RankStep report = report_of(0, 0.1, 0);
  report.timed = false;
  meter.add(report);
  const StepMeasures measures = meter.finish({1, 1.0, 1, 0});
  CHECK_FALSE(is_known(measures.compute_share));
  CHECK_FALSE(is_known(measures.bubble_share));
  CHECK(is_known(measures.data_wait_share));
  CHECK_FALSE(measures.watches_ranks);
}

TEST_CASE("step meter: operations are a share of the devices' peak where it is known", "[monitor]") {
  StepMeter with({}, {.peak_flops = 4e9, .devices = 2, .tells_ranks = false}), without({}, {});
  const StepMeasures known = with.finish({1, 0.5, 100, 1e9}), not_known = without.finish({1, 0.5, 100, 1e9});
  CHECK(known.model_flops_per_second == 2e9);
  CHECK(known.mfu == 0.5);
  CHECK(known.tokens_per_second_per_device == 100.0);
  CHECK(not_known.model_flops_per_second == 2e9);
  CHECK_FALSE(is_known(not_known.mfu));
  CHECK_FALSE(is_known(without.finish({2, 0.5, 0, 0}).model_flops_per_second));
}

TEST_CASE("step meter: bytes to other ranks and over the network are summed, memory is the most",
          "[monitor]") {
  StepMeter meter(two_replicas(), {0, 1, true});
  RankStep first = report_of(0, 0.5, 0), second = report_of(1, 0.5, 0);
  first.sent_bytes = 300;
  first.network_bytes = 100;
  second.sent_bytes = 500;
  first.peak_bytes = {10, 2, 30};
  second.peak_bytes = {7, 8, 9};
  meter.add(first);
  meter.add(second);
  const StepMeasures measures = meter.finish({1, 2.0, 1, 0});
  CHECK(measures.sent_bytes_per_second == 400.0);
  CHECK(measures.network_bytes_per_second == 50.0);
  CHECK(measures.peak_bytes == std::vector<uint64_t>{10, 8, 30});
  REQUIRE(measures.ranks.size() == 2);
  CHECK(measures.ranks[1].rank == 1);
  CHECK(measures.ranks[1].peak_bytes == std::vector<uint64_t>{7, 8, 9});
  CHECK(measures.watches_ranks);
  // A rank that does not report keeps its peak.
  meter.add(report_of(0, 0.5, 0));
  CHECK(meter.finish({2, 2.0, 1, 0}).peak_bytes == std::vector<uint64_t>{7, 8, 9});
}

TEST_CASE("step meter: of processes the largest counts, and rates are between two looks at each",
          "[monitor]") {
  StepMeter meter(two_replicas(), {});
  constexpr int64_t second = 1'000'000'000;
  meter.add(ProcessUse{1, second, 500, 900, 1000, 0});
  meter.add(ProcessUse{2, 70 * second, 700, 800, 0, 10});
  const StepMeasures first = meter.finish({1, 1, 1, 0});
  CHECK(first.resident_bytes == 700.0);
  CHECK(first.most_resident_bytes == 900.0);
  CHECK(first.disk_read_bytes_per_second == 0.0);  // nothing to compare with yet
  meter.add(ProcessUse{1, 3 * second, 500, 900, 1600, 40});
  meter.add(ProcessUse{2, 71 * second, 100, 800, 50, 10});
  const StepMeasures then = meter.finish({2, 1, 1, 0});
  CHECK(then.resident_bytes == 500.0);
  CHECK(then.disk_read_bytes_per_second == 350.0);
  CHECK(then.disk_written_bytes_per_second == 20.0);
  // Two looks at a time make no rate of their own.
  meter.add(ProcessUse{1, 3 * second + second / 100, 510, 900, 9600, 40});
  const StepMeasures close = meter.finish({3, 1, 1, 0});
  CHECK(close.resident_bytes == 510.0);
  CHECK(close.disk_read_bytes_per_second == 350.0);
  // What the kernel does not tell is not known.
  StepMeter untold({}, {});
  untold.add(ProcessUse{3, second, -1, -1, -1, -1});
  untold.add(ProcessUse{3, 2 * second, -1, -1, -1, -1});
  const StepMeasures none = untold.finish({1, 1, 1, 0});
  CHECK_FALSE(is_known(none.resident_bytes));
  CHECK_FALSE(is_known(none.disk_written_bytes_per_second));
}

}  // namespace collie::test
