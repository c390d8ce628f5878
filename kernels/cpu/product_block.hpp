// A block of a product of bfloat16 matrices. There are two ways to compute it.
#pragma once

#include "kernels/bfloat16.hpp"
#include "kernels/operations.hpp"

namespace collie::cpu {

// A part of a stored matrix.
struct Bfloat16Block {
  const bfloat16* data;
  int64_t rows, width, stride;
};

// C[m, n] = A · B (+ C) over `terms` terms. C is dense.
struct ProductBlock {
  GemmForm form;
  int64_t m, n, terms;
  Bfloat16Block a, b;
  float* c;
  bool accumulate;
};

// The largest block of each way. The calling thread keeps buffers for one such block, whatever is multiplied.
// Like OpenBLAS's own buffers they are in no memory account.
struct BlockLimits {
  int64_t m, n, terms;
};

// By oneDNN (native_block.cpp).
inline constexpr BlockLimits native_limits{512, 2048, 1024};
void multiply_natively(const ProductBlock& block);

// As floats, by OpenBLAS (block_from_floats.cpp). Conversions cost little beside the multiplications, and all
// blocks stay in a core's cache.
inline constexpr BlockLimits float_limits{64, 256, 512};
void multiply_from_floats(const ProductBlock& block);

}  // namespace collie::cpu
