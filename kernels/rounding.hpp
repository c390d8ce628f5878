// Says how values stored in bfloat16 are rounded.
#pragma once

#include <cstdint>

namespace collie {

// Rounds to nearest even. Or rounds up or down with the probability that makes the mean the unrounded number,
// by 16 random bits that depend on key and index alone (Gupta et al., arXiv 1502.02551).
struct Rounding {
  bool stochastic = false;
  uint64_t key = 0;  // one key per step
};

// The rounding of one step. The bits are the same in every layout whose ranges say where they start.
Rounding stochastic_rounding(uint64_t seed, int64_t step);

}  // namespace collie
