// Sums to one number in a fixed order.
#pragma once

#include "kernels/cuda/views.hpp"

struct CUstream_st;

namespace collie::cuda {

// out [ceil(count / 4096)] gets the sum of squares of each block of 4096 elements, in double.
void block_sums_of_squares(CUstream_st* stream, const void* x, Element element, int64_t count, double* out);
// *total += the sum of values [count]. The sum is taken first, in order of index within a fixed tree that
// depends on count alone.
void add_sum(CUstream_st* stream, const double* values, int64_t count, double* total);

}  // namespace collie::cuda
