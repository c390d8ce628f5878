// Sums over rows without atomics: slices of rows first, then the slices in order.
#pragma once

#include "kernels/cuda/views.hpp"

struct CUstream_st;

namespace collie::cuda {

// Into how many slices the rows of [rows, width] are cut, 32 rows or more each: enough to fill a GPU. 0 where
// there are no rows.
int64_t column_slices(int64_t rows, int64_t width);
// out [width] = or += the sum of partials [slices, width] over the slices, in order.
void sum_slices(CUstream_st* stream, const float* partials, int64_t slices, int64_t width, void* out,
                Element out_element, bool accumulate);

// Floats of workspace that column_sum takes.
int64_t column_sum_workspace(int64_t rows, int64_t width);
// out [width] (of element type `out_element`) = or += the sum of x's rows.
void column_sum(CUstream_st* stream, const Matrix& x, void* out, Element out_element, bool accumulate,
                float* workspace);

}  // namespace collie::cuda
