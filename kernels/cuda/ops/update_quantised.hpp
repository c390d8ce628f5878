// AdamW on lists of flat arrays whose states are 8-bit codes in blocks (kernels/dynamic_map.hpp).
#pragma once

#include <cstdint>
#include <span>

#include "kernels/cuda/ops/update.hpp"

struct CUstream_st;

namespace collie::cuda {

constexpr int quantised_states = 2, quantised_codes = 256;

// All arrays but absmax are [count]. `rounded` is as in UpdateArrays.
struct QuantisedArrays {
  void *weight, *gradient, *rounded;
  uint8_t* codes[quantised_states];
  float* absmax[quantised_states];  // [blocks]
  Element weight_element, gradient_element, rounded_element;
  int64_t count;
  uint64_t first_index;
};

// The numbers of each state's codes, ascending.
struct CodeValues {
  float values[quantised_states][quantised_codes];
};

// There is one launch per 16 consecutive tensors of the same element types. The factors are AdamW's.
// gradient_factor is as in update().
void update_quantised(CUstream_st* stream, std::span<const QuantisedArrays> tensors, const CodeValues& values,
                      const FloatFactors& factors, const Rounding& rounding, const double* gradient_factor);

}  // namespace collie::cuda
