// The schedules that this layer registers under a name; see schedules.hpp.
#pragma once

#include "schedule/schedules.hpp"

namespace collie::schedule {

inline constexpr StageRule one_stage{1, 1, false};
inline constexpr StageRule several_stages{2, std::numeric_limits<int>::max(), false};
inline constexpr StageRule v_stages{2, 2, true};

// All forwards come first, then all backwards, both in micro-batch order. Every stage holds all m
// micro-batches at its peak.
Schedule gpipe(const Sizes& sizes);

// Rank r runs min(p - 1 - r, m) forwards ahead, then one forward and one backward in turn, then the remaining
// backwards. Stage s holds min(p - s, m) micro-batches at its peak.
Schedule one_forward_one_backward(const Sizes& sizes);

// 1F1B over groups of p micro-batches. Each group goes through a rank's first stage, then its second, and so
// on. Rank r holds 2(p - 1 - r) + (v - 1)p + 1 of its stages' activations at its peak. If p does not divide
// m, the first group is the smaller one.
Schedule interleaved(const Sizes& sizes);

// 1F1B with W delayed by r micro-batches on rank r. So every stage holds up to min(p, m) micro-batches, which
// 1F1B holds on its first stage.
Schedule zb_h1(const Sizes& sizes);

// Two stages per rank, played tick by tick. A rank holds at most 2p of its stages' activations, which are as
// many bytes as on 1F1B's first rank.
Schedule zbv(const Sizes& sizes);

// Two stages per rank; forwards of one stage run next to backwards of the other. A rank holds at most 2p + 1
// of its stages' activations. Throws UserError for fewer than 2p - 1 micro-batches.
Schedule dualpipe_v(const Sizes& sizes);

// Throws UserError unless ranks, micro_batches and virtual_stages are at least 1 and there are at most 2^22
// forward actions.
void check_sizes(const Sizes& sizes);

// Throws UserError unless `rule` allows `found` stages per rank.
void check_stages(const std::string& name, const StageRule& rule, int found);

std::vector<int> ranks_of(const StageRule& rule, int ranks, int virtual_stages);

// A schedule of these sizes with empty lists. Throws UserError if the sizes are wrong.
Schedule empty_lists(const std::string& name, const StageRule& rule, const Sizes& sizes);

// Appends `kind` of the micro-batches [begin, end).
void append(ActionList& list, ActionKind kind, int stage, int begin, int end);

// Splits B into I and W if `sizes` asks for it.
Schedule finished(Schedule schedule, const Sizes& sizes);

}  // namespace collie::schedule
