// AdamW on lists of flat arrays. kernels/operations.hpp has the formula and the order of operations.
#pragma once

#include <span>

#include "kernels/adamw_factors.hpp"
#include "kernels/cuda/views.hpp"
#include "kernels/rounding.hpp"

struct CUstream_st;

namespace collie::cuda {

// All arrays are [count], each with its own element type. `rounded` is null, or it gets the new weight in
// bfloat16 or unrounded.
struct AdamWArrays {
  void *weight, *gradient, *exp_avg, *exp_avg_sq, *rounded;
  Element weight_element, gradient_element, state_element;
  int64_t count;
  uint64_t first_index = 0;  // the start of the arrays among all elements that are rounded under one key
  Element rounded_element = Element::bf16;  // bf16, or weight_element
};

// One update of every tensor in the list, by the same factors. There is one launch per 64 consecutive tensors
// of the same element types, whatever their sizes. gradient_factor is on the device and multiplies the
// gradients; if it is NaN, nothing changes; null means 1.
void adamw(CUstream_st* stream, std::span<const AdamWArrays> tensors, const AdamWFactors& factors,
           const Rounding& rounding = {}, const double* gradient_factor = nullptr);

}  // namespace collie::cuda
