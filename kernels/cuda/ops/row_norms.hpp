// The norms of a matrix's rows, in the two steps of kernels/operations.hpp.
#pragma once

#include "kernels/cuda/views.hpp"

struct CUstream_st;

namespace collie::cuda {

void row_sums_of_squares(CUstream_st* stream, const Matrix& x, float* sums);  // sums [rows]
void inverse_roots(CUstream_st* stream, float* x, int64_t count);

}  // namespace collie::cuda
