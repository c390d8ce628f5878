// RMSNorm; kernels/operations.hpp has formulas and shapes. weight has x's element type; inverse_rms is
// float32 [rows].
#pragma once

#include "kernels/cuda/memory/workspaces.hpp"
#include "kernels/cuda/views.hpp"

struct CUstream_st;

namespace collie::cuda {

void rms_norm(CUstream_st* stream, const Matrix& x, const void* weight, double weight_offset, float eps,
              const Matrix& y, float* inverse_rms);
void rms_norm_backward_input(CUstream_st* stream, const Matrix& dy, const Matrix& x, const void* weight,
                             double weight_offset, const float* inverse_rms, const Matrix* d_residual,
                             const Matrix& dx);
// d_weight [width] has element type `out_element`. It is summed within slices of rows first, then over the
// slices in order.
void rms_norm_backward_weight(CUstream_st* stream, const Matrix& dy, const Matrix& x,
                              const float* inverse_rms, void* d_weight, Element out_element, bool accumulate,
                              float* workspace);

// The residual connection before the norm, in the same pass over memory: sum = x + residual, and y =
// rms_norm(sum) of sum as it is stored. The bits are those of add, then rms_norm. sum may be x or residual.
// All are [rows, width] of one element type.
void add_rms_norm(CUstream_st* stream, const Matrix& x, const Matrix& residual, const void* weight,
                  double weight_offset, float eps, const Matrix& sum, const Matrix& y, float* inverse_rms);

}  // namespace collie::cuda
