// LayerNorm; kernels/operations.hpp has formulas and shapes. weight and bias have x's element type; a bias of
// nullptr means none. statistics is float32 [rows, 2].
#pragma once

#include "kernels/cuda/views.hpp"

struct CUstream_st;

namespace collie::cuda {

void layer_norm(CUstream_st* stream, const Matrix& x, const void* weight, const void* bias, float eps,
                const Matrix& y, float* statistics);
// The residual connection before the norm, in the same pass over memory. The bits are those of add, then
// layer_norm. sum may be x or residual.
void add_layer_norm(CUstream_st* stream, const Matrix& x, const Matrix& residual, const void* weight,
                    const void* bias, float eps, const Matrix& sum, const Matrix& y, float* statistics);
void layer_norm_backward_input(CUstream_st* stream, const Matrix& dy, const Matrix& x, const void* weight,
                               const float* statistics, const Matrix* d_residual, const Matrix& dx);
// d_weight [width] has element type `out_element`. It is summed as in a column_sum, with its workspace.
void layer_norm_backward_weight(CUstream_st* stream, const Matrix& dy, const Matrix& x,
                                const float* statistics, void* d_weight, Element out_element, bool accumulate,
                                float* workspace);

}  // namespace collie::cuda
