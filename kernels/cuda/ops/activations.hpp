// Activation functions, gated and plain; kernels/operations.hpp has the formulas. All views are [tokens,
// width] of one element type.
#pragma once

#include "kernels/activation.hpp"
#include "kernels/cuda/views.hpp"

struct CUstream_st;

namespace collie::cuda {

void gated(CUstream_st* stream, Activation activation, const Matrix& gate, const Matrix& up,
           const Matrix& out);
void gated_backward(CUstream_st* stream, Activation activation, const Matrix& gate, const Matrix& up,
                    const Matrix& d_out, const Matrix& d_gate, const Matrix& d_up);
void activate(CUstream_st* stream, Activation activation, const Matrix& x,
              const Matrix& out);  // out may be x
// dx may be d_out.
void activate_backward(CUstream_st* stream, Activation activation, const Matrix& x, const Matrix& d_out,
                       const Matrix& dx);

}  // namespace collie::cuda
