// Dropout (Srivastava et al., JMLR 15, 2014) whose mask is computed where it is needed, and never stored.
#pragma once

#include "kernels/cuda/views.hpp"

struct CUstream_st;

namespace collie::cuda {

// Which elements are dropped. Element (row, column) has index i = first + row · pitch + column, which is
// where it stands in the whole tensor of which this process may hold a part; it is dropped where word i % 4
// of philox4x32 block i / 4 under `key` (base/random.hpp) is below probability · 2³².
struct DropoutMask {
  uint64_t key;
  double probability;  // [0, 1]
  int64_t first = 0, pitch;
};

// out = 0 where an element is dropped, else x / (1 - probability). It is its own backward: d_x = dropout of
// d_out with the same mask. out may be x; both of one element type.
void dropout(CUstream_st* stream, const Matrix& x, const DropoutMask& mask, const Matrix& out);

}  // namespace collie::cuda
