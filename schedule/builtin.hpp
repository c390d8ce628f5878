// The schedules this floor registers under a name; see schedules.hpp.
#pragma once

#include "schedule/schedules.hpp"

namespace collie::schedule {

// All forwards, then all backwards, both in micro-batch order. Every stage holds all m micro-batches at its
// peak.
Schedule gpipe(const Sizes& sizes);

// Rank r runs min(p - 1 - r, m) forwards ahead, then one forward and one backward in turn, then the backwards
// that are left. Stage s holds min(p - s, m) micro-batches at its peak.
Schedule one_forward_one_backward(const Sizes& sizes);

// UserError unless ranks, micro_batches and virtual_stages are at least 1 and the lists are of a size one can
// hold.
void check_sizes(const Sizes& sizes);

// Empty lists for one stage a rank; UserError where `sizes` has more stages a rank.
Schedule one_stage_a_rank(const std::string& name, const Sizes& sizes);

}  // namespace collie::schedule
