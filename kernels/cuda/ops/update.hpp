// Elementwise update rules on lists of flat arrays. kernels/rules/ has the formulas.
#pragma once

#include <span>

#include "kernels/cuda/views.hpp"
#include "kernels/rounding.hpp"
#include "kernels/update_formula.hpp"

struct CUstream_st;

namespace collie::cuda {

// All arrays are [count], each with its own element type. `rounded` is null, or it gets the new weight in
// bfloat16 or unrounded.
struct UpdateArrays {
  void *weight, *gradient, *states[most_states], *rounded;
  Element weight_element, gradient_element, state_element;
  int64_t count;
  uint64_t first_index = 0;  // the start of the arrays among all elements that are rounded under one key
  Element rounded_element = Element::bf16;  // bf16, or weight_element
};

struct FloatFactors {
  float values[most_factors];
};

// One update of every tensor in the list, by the same formula and factors. There is one launch per 64
// consecutive tensors of the same element types (32 if they have more than two states), whatever their sizes.
// gradient_factor is on the device and multiplies the gradients; if it is NaN, nothing changes; null means 1.
void update(CUstream_st* stream, std::span<const UpdateArrays> tensors, int formula,
            const FloatFactors& factors, const Rounding& rounding = {},
            const double* gradient_factor = nullptr);

}  // namespace collie::cuda
