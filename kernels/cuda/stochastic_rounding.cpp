#include "base/random.hpp"
#include "kernels/cuda/adamw.hpp"

namespace collie::cuda {

Rounding stochastic_rounding(uint64_t seed, int64_t step) {
  const RandomStream steps(random_key(seed, "stochastic rounding"));
  return {.stochastic = true, .key = steps.bits(static_cast<uint64_t>(step))};
}

}  // namespace collie::cuda
