// A product of float matrices by OpenBLAS, on one thread.
#pragma once

#include "kernels/operations.hpp"

namespace collie::cpu {

// C[m, n] = A · B (+ C). Strides are those of rows, in elements.
void multiply_tile(GemmForm form, int64_t m, int64_t n, int64_t k, const float* a, int64_t a_stride,
                   const float* b, int64_t b_stride, float* c, int64_t c_stride, bool accumulate);

}  // namespace collie::cpu
