// AdamW on flat arrays; formula and order of operations in kernels/operations.hpp.
#pragma once

#include "kernels/adamw_factors.hpp"
#include "kernels/cuda/views.hpp"

struct CUstream_st;

namespace collie::cuda {

// All [count]; each of its own element type.
struct AdamWArrays {
  void *weight, *gradient, *exp_avg, *exp_avg_sq;
  Element weight_element, gradient_element, state_element;
  int64_t count;
};

void adamw(CUstream_st* stream, const AdamWArrays& arrays, const AdamWFactors& factors);

}  // namespace collie::cuda
