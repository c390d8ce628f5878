// The formulas of update rules on float32 arrays, for the instruction set that the processor has.
#pragma once

#include <cstdint>

#include "kernels/operations.hpp"

namespace collie::cpu {

struct UpdateArrays {
  float* weight;
  const float* gradient;
  float* states[most_states];
};
struct FloatFactors {
  float gradient;
  float of_formula[most_factors];
};
inline FloatFactors float_factors(const ElementwiseUpdate& step, double gradient_factor) {
  FloatFactors factors{static_cast<float>(gradient_factor), {}};
  for (size_t i = 0; i < most_factors; ++i) factors.of_formula[i] = static_cast<float>(step.factors[i]);
  return factors;
}

// Updates n elements by the formula of that index.
using UpdateKernel = void (*)(int formula, const UpdateArrays& x, const FloatFactors& by, int64_t n);
UpdateKernel update_kernel();

}  // namespace collie::cpu
