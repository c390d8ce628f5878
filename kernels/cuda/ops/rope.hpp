// Rotary positions in place; kernels/operations.hpp has formula and shapes.
#pragma once

#include "kernels/cuda/views.hpp"

struct CUstream_st;

namespace collie::cuda {

// x [tokens, heads · head_dim]; cosines, sines float32 [positions, rotated / 2]; positions [tokens] on the
// device. `neighbours`: channels 2 j and 2 j + 1 are turned together, and not j of two halves.
void rope(CUstream_st* stream, const Matrix& x, int64_t heads, int64_t head_dim, const Matrix& cosines,
          const Matrix& sines, const int32_t* positions, bool inverse, bool neighbours = false);

}  // namespace collie::cuda
