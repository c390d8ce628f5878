#include "kernels/rounding.hpp"

#include "base/random.hpp"

namespace collie {

Rounding stochastic_rounding(uint64_t seed, int64_t step) {
  const RandomStream steps(random_key(seed, "stochastic rounding"));
  return {.stochastic = true, .key = steps.bits(static_cast<uint64_t>(step))};
}

}  // namespace collie
