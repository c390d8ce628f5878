// Sums over rows without atomics: first within slices of rows, then over the slices in order.
#pragma once

#include "kernels/cuda/memory/workspaces.hpp"
#include "kernels/cuda/views.hpp"

struct CUstream_st;

namespace collie::cuda {

// out [width] = or += the sum of partials [slices, width] over the slices, in order.
void sum_slices(CUstream_st* stream, const float* partials, int64_t slices, int64_t width, void* out,
                Element out_element, bool accumulate);

// out [width] (of element type `out_element`) = or += the sum of x's rows.
void column_sum(CUstream_st* stream, const Matrix& x, void* out, Element out_element, bool accumulate,
                float* workspace);
// out [width] = or += the sum over the rows of a · b [rows, width], with column_sum's workspace.
void column_dots(CUstream_st* stream, const Matrix& a, const Matrix& b, void* out, Element out_element,
                 bool accumulate, float* workspace);

}  // namespace collie::cuda
