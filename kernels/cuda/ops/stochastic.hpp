// Stochastic rounding to bfloat16 (kernels/rounding.hpp). For .cu files only.
#pragma once

#include "kernels/cuda/elements.hpp"

namespace collie::cuda {

// Rounds up with probability (the part that truncation cuts off) / (a unit of the last place kept). 16 bits
// of `random` decide.
__device__ __forceinline__ bfloat16 round_by(float x, unsigned random) {
  const unsigned bits = __float_as_uint(x);
  if ((bits & 0x7F800000U) == 0x7F800000U) return from_float<bfloat16>(x);  // infinities, NaN
  return {static_cast<uint16_t>((bits + (random & 0xFFFFU)) >> 16)};
}

}  // namespace collie::cuda
