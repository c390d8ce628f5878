// AdamW on lists of flat arrays; formula and order of operations in kernels/operations.hpp.
#pragma once

#include <span>

#include "kernels/adamw_factors.hpp"
#include "kernels/cuda/views.hpp"

struct CUstream_st;

namespace collie::cuda {

// All [count]; each of its own element type.
struct AdamWArrays {
  void *weight, *gradient, *exp_avg, *exp_avg_sq;
  Element weight_element, gradient_element, state_element;
  int64_t count;
  uint64_t first_index = 0;  // where the arrays start among all elements that are rounded under one key
};

// How bfloat16 weights and states are stored. Stochastically: up or down with the probability that makes the
// mean the unrounded number, by 16 random bits that depend on key and index alone (Gupta et al., arXiv
// 1502.02551).
struct Rounding {
  bool stochastic = false;  // else to nearest even
  uint64_t key = 0;
};
// That of one step: the same bits in every layout whose arrays say where they start.
Rounding stochastic_rounding(uint64_t seed, int64_t step);

// One update of every tensor in the list, by the same factors: a launch for 64 tensors of the same element
// types in a row, whatever their sizes.
void adamw(CUstream_st* stream, std::span<const AdamWArrays> tensors, const AdamWFactors& factors,
           const Rounding& rounding = {});

}  // namespace collie::cuda
