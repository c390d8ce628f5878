// The largest of logits with noise (kernels/gumbel.hpp); kernels/operations.hpp has shapes.
#pragma once

#include "kernels/cuda/views.hpp"

struct CUstream_st;

namespace collie::cuda {

// rows: words_of_rows() (ops/dropout.hpp) of the logits' rows, on the device. best float64 [rows, 2].
void gumbel_max(CUstream_st* stream, const Matrix& logits, int64_t first, uint64_t key, const int32_t* rows,
                double* best);

}  // namespace collie::cuda
