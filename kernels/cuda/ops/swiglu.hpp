// SwiGLU; kernels/operations.hpp has the formula. All views are [tokens, width] of one element type.
#pragma once

#include "kernels/cuda/views.hpp"

struct CUstream_st;

namespace collie::cuda {

void swiglu(CUstream_st* stream, const Matrix& gate, const Matrix& up, const Matrix& out);
void swiglu_backward(CUstream_st* stream, const Matrix& gate, const Matrix& up, const Matrix& d_out,
                     const Matrix& d_gate, const Matrix& d_up);

}  // namespace collie::cuda
