// Sums of doubles as binary trees. TreeRuns in kernels/operations.hpp says which values are added.
#pragma once

#include <cstdint>

struct CUstream_st;

namespace collie::cuda {

// sums [count] of values. `words` on the device has starts [count + 1], firsts [nodes], counts [nodes],
// heights [nodes]. `largest` is the largest of the counts.
void tree_sums(CUstream_st* stream, const double* values, const int32_t* words, int64_t nodes, int64_t count,
               int64_t largest, double* sums);

}  // namespace collie::cuda
