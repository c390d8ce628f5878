// Softmax cross-entropy and its gradient in place; kernels/operations.hpp has formulas and shapes. labels
// [chunk] are on the device. losses float64 [chunk] gets each token's loss, 0 if the token is not a target.
#pragma once

#include "kernels/cuda/views.hpp"

struct CUstream_st;

namespace collie::cuda {

void cross_entropy(CUstream_st* stream, const Matrix& logits, const int32_t* labels, float gradient_scale,
                   double* losses);
// statistics [chunk, 3] of the columns [first, first + width) of the vocabulary.
void softmax_statistics(CUstream_st* stream, const Matrix& logits, const int32_t* labels, int64_t first,
                        double* statistics);
// statistics [shards, chunk, 3].
void cross_entropy_from_statistics(CUstream_st* stream, const Matrix& logits, const int32_t* labels,
                                   int64_t first, const double* statistics, int64_t shards,
                                   float gradient_scale, double* losses);

}  // namespace collie::cuda
