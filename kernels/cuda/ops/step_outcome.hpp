// The outcome of a step; kernels/operations.hpp has the formula.
#pragma once

#include "kernels/clip_factor.hpp"

struct CUstream_st;

namespace collie::cuda {

// outcome [3]: *loss_sum, the root of *sum_of_squares, and step_factor() of both.
void step_outcome(CUstream_st* stream, const double* loss_sum, const double* sum_of_squares,
                  const StepBounds& bounds, double* outcome);

// *kept = factor_if_finite(*factor, *value)
void keep_if_finite(CUstream_st* stream, const double* factor, const double* value, double* kept);

}  // namespace collie::cuda
