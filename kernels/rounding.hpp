// How what is stored in bfloat16 is rounded.
#pragma once

#include <cstdint>

namespace collie {

// To nearest even, or up or down with the probability that makes the mean the unrounded number, by 16 random
// bits that depend on key and index alone (Gupta et al., arXiv 1502.02551).
struct Rounding {
  bool stochastic = false;
  uint64_t key = 0;  // of one step
};

// That of one step: the same bits in every layout whose ranges say where they start.
Rounding stochastic_rounding(uint64_t seed, int64_t step);

}  // namespace collie
