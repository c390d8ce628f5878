// GELU (Hendrycks & Gimpel, arXiv 1606.08415): out = x · Φ(x), exactly or by its approximation with tanh. All
// views are [tokens, width] of one element type.
#pragma once

#include "kernels/cuda/views.hpp"

struct CUstream_st;

namespace collie::cuda {

enum class GeluForm : uint8_t {
  erf,   // Φ(x) = (1 + erf(x / √2)) / 2: Hugging Face's "gelu"
  tanh,  // Φ(x) ≈ (1 + tanh(√(2/π) (x + 0.044715 x³))) / 2: "gelu_new", "gelu_pytorch_tanh"
};

void gelu(CUstream_st* stream, GeluForm form, const Matrix& x, const Matrix& out);  // out may be x
// dx = d_out · d(gelu)/dx; dx may be d_out.
void gelu_backward(CUstream_st* stream, GeluForm form, const Matrix& x, const Matrix& d_out,
                   const Matrix& dx);

}  // namespace collie::cuda
