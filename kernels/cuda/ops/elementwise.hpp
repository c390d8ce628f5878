// Elementwise kernels. The operation table (kernels/operations.hpp) says what each computes. Shapes are
// equal; `stream` orders the calls.
#pragma once

#include "kernels/cuda/views.hpp"

struct CUstream_st;

namespace collie::cuda {

void fill(CUstream_st* stream, const Matrix& x, float value);
void convert(CUstream_st* stream, const Matrix& from, const Matrix& to);  // element types differ
void add(CUstream_st* stream, const Matrix& a, const Matrix& b, const Matrix& out);
void scale(CUstream_st* stream, const Matrix& x, float factor);
void divide_by_root(CUstream_st* stream, const Matrix& x, const double* square, double least);
void clamp(CUstream_st* stream, const Matrix& x, float limit);
void add_row(CUstream_st* stream, const Matrix& x, const void* row);  // row [width], x's element type
// out = x · factors [width], whose element type is x's or float.
void scale_columns(CUstream_st* stream, const Matrix& x, const void* factors, Element factor_element,
                   const Matrix& out);

}  // namespace collie::cuda
