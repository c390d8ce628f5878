// What was measured of a step, beside what it computed. Nothing of it has any influence on the run.
// docs/monitoring.md says of each number who measures it and when.
#pragma once

#include <cstdint>
#include <limits>
#include <vector>

#include "runtime/double_bits.hpp"

namespace collie {

// Stands for a number that is not known.
inline const DoubleBits not_measured{std::numeric_limits<double>::quiet_NaN()};

// One rank's part of a step, for sinks that tell ranks apart.
struct RankMeasures {
  int rank = 0;
  DoubleBits computing_s, communicating_s;
  std::vector<uint64_t> peak_bytes;  // [categories] since the rank's start
};

// A rank that has computed longer than others with the same work, for many steps.
struct SlowRank {
  int rank = 0;
  int64_t since_step = 0;
  DoubleBits factor;  // how many times as long
};

struct StepMeasures {
  // Floating-point operations of the model, per second, and their share of the devices' peak.
  DoubleBits model_flops_per_second = not_measured, mfu = not_measured;
  DoubleBits tokens_per_second_per_device = not_measured;
  // What the ranks did in the step's time; the five shares are 1 together.
  DoubleBits compute_share = not_measured, communication_share = not_measured;
  DoubleBits data_wait_share = not_measured, save_wait_share = not_measured, bubble_share = not_measured;
  DoubleBits sent_bytes_per_second = not_measured, network_bytes_per_second = not_measured;
  DoubleBits disk_read_bytes_per_second = not_measured, disk_written_bytes_per_second = not_measured;
  // Of the process that has the most.
  DoubleBits resident_bytes = not_measured, most_resident_bytes = not_measured;
  std::vector<uint64_t> peak_bytes;  // [categories] of the rank that has held the most of each
  // Of the gradients of each of optimizer.groups, then of the rest; empty if there are no groups.
  std::vector<DoubleBits> group_norms;
  // The ranks that are slow at present, the slowest first. Valid if `watches_ranks`.
  std::vector<SlowRank> slow_ranks;
  bool watches_ranks = false;
  std::vector<RankMeasures> ranks;  // empty if no sink tells ranks apart
};

template <class Inspector>
auto inspect(Inspector& f, RankMeasures& x) {
  return f(x.rank, x.computing_s, x.communicating_s, x.peak_bytes);
}
template <class Inspector>
auto inspect(Inspector& f, SlowRank& x) {
  return f(x.rank, x.since_step, x.factor);
}
template <class Inspector>
auto inspect(Inspector& f, StepMeasures& x) {
  return f(x.model_flops_per_second, x.mfu, x.tokens_per_second_per_device, x.compute_share,
           x.communication_share, x.data_wait_share, x.save_wait_share, x.bubble_share,
           x.sent_bytes_per_second, x.network_bytes_per_second, x.disk_read_bytes_per_second,
           x.disk_written_bytes_per_second, x.resident_bytes, x.most_resident_bytes, x.peak_bytes,
           x.group_norms, x.slow_ranks, x.watches_ranks, x.ranks);
}

}  // namespace collie
