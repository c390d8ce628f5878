// What is kept in which number format while a model trains.
#pragma once

#include <cstdint>
#include <string>

#include "io/config.hpp"
#include "kernels/operations.hpp"

namespace collie {

// Weights and activations are of the operation table's dtype, optimizer states always of its
// accumulation_dtype(). Where both are the same, there is nothing to choose.
struct Precision {
  bool master = false;  // a copy of every weight in accumulation_dtype() is what the optimizer updates
  bool full_precision_gradients = true;  // gradients in accumulation_dtype(), or in the table's dtype
  bool stochastic = false;               // without master: how updated weights are rounded
  uint64_t seed = 0;                     // of that

  DType gradients(const Operations& operations) const {
    return full_precision_gradients ? operations.accumulation_dtype() : operations.dtype();
  }
  bool keeps_master(const Operations& operations) const {
    return master && operations.accumulation_dtype() != operations.dtype();
  }
};

// optimizer.master, grad_dtype and rounding; `model_dtype` is model.dtype. Throws UserError where they
// contradict each other.
Precision precision_of(const OptimizerConfig& config, const std::string& model_dtype, uint64_t seed);

// Where a range begins among all elements that are rounded under one key, so that an element has the same
// random bits in every layout that leaves rows whole. `first`: the index of the range's first element in the
// Hugging Face tensor. Elements of a matrix that is cut by columns are counted on from there, and may share
// bits with others.
uint64_t rounding_index(const std::string& name, int64_t first);

}  // namespace collie
