// Sums over rows without atomics: slices of rows first, then the slices in order.
#pragma once

#include "kernels/cuda/views.hpp"

struct CUstream_st;

namespace collie::cuda {

// Floats of workspace that column_sum takes.
int64_t column_sum_workspace(int64_t rows, int64_t width);
// out [width] (of element type `out_element`) = or += the sum of x's rows.
void column_sum(CUstream_st* stream, const Matrix& x, void* out, Element out_element, bool accumulate,
                float* workspace);

}  // namespace collie::cuda
