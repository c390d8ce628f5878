// AdamW on lists of flat arrays; formula and order of operations in kernels/operations.hpp.
#pragma once

#include <span>

#include "kernels/adamw_factors.hpp"
#include "kernels/cuda/views.hpp"
#include "kernels/rounding.hpp"

struct CUstream_st;

namespace collie::cuda {

// All [count]; each of its own element type. rounded: null, or gets the new weight, in bfloat16 or as it is.
struct AdamWArrays {
  void *weight, *gradient, *exp_avg, *exp_avg_sq, *rounded;
  Element weight_element, gradient_element, state_element;
  int64_t count;
  uint64_t first_index = 0;  // where the arrays start among all elements that are rounded under one key
  Element rounded_element = Element::bf16;  // bf16, or weight_element
};

// One update of every tensor in the list, by the same factors: a launch for 64 tensors of the same element
// types in a row, whatever their sizes. gradient_factor: on the device, multiplies the gradients, and where
// it is NaN nothing changes; null: 1.
void adamw(CUstream_st* stream, std::span<const AdamWArrays> tensors, const AdamWFactors& factors,
           const Rounding& rounding = {}, const double* gradient_factor = nullptr);

}  // namespace collie::cuda
