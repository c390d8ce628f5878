// What is kept in which number format while a model trains.
#pragma once

#include <cstdint>
#include <string>

#include "io/config.hpp"
#include "kernels/operations.hpp"
#include "kernels/update_rule.hpp"

namespace collie {

// Weights and activations are of the operation table's dtype.
struct Precision {
  bool master = false;  // a copy of every weight in accumulation_dtype() is what the optimizer updates
  bool full_precision_gradients = true;  // gradients in accumulation_dtype(), or in the table's dtype
  bool narrow_states = false;            // optimizer states in bfloat16, but for the wide ones
  bool stochastic = false;               // how updated weights without master, and such states, are rounded
  uint64_t seed = 0;                     // of that

  DType gradients(const Operations& operations) const {
    return full_precision_gradients ? operations.accumulation_dtype() : operations.dtype();
  }
  DType state(const Operations& operations, const StateDeclaration& state) const {
    if (state.codes) return DType::u8;
    const bool narrow = narrow_states && !state.wide && operations.accumulation_dtype() == DType::f32;
    return narrow ? DType::bf16 : operations.accumulation_dtype();
  }
  bool keeps_master(const Operations& operations) const {
    return master && operations.accumulation_dtype() != operations.dtype();
  }
};

// optimizer.master, grad_dtype, state_dtype and rounding; `model_dtype` is model.dtype. Throws UserError
// where they contradict each other.
Precision precision_of(const OptimizerConfig& config, const std::string& model_dtype, uint64_t seed);

// Where a range begins among all elements that are rounded under one key, so that an element has the same
// random bits in every layout that leaves rows whole. `first`: the index of the range's first element in the
// Hugging Face tensor. Elements of a matrix that is cut by columns are counted on from there, and may share
// bits with others.
uint64_t rounding_index(const std::string& name, int64_t first);

}  // namespace collie
