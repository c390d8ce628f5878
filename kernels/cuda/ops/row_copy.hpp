// Copies matrices on the device. Their rows may stand apart.
#pragma once

#include "kernels/cuda/views.hpp"

struct CUstream_st;

namespace collie::cuda {

// from and to have the same element type, rows and width.
void copy_rows(CUstream_st* stream, const Matrix& from, const Matrix& to);

}  // namespace collie::cuda
