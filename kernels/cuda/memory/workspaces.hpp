// Says how kernels/cuda cuts work and which workspace it takes besides its operands, by shapes alone. It is
// in every program, with or without CUDA, because kernels/meta counts with it.
#pragma once

#include <cstdint>

namespace collie::cuda {

// cuBLASLt's workspace: the size NVIDIA asks for on Hopper. One per table.
inline constexpr int64_t matmul_workspace_bytes = int64_t{32} << 20;

// The number of arrays of whole numbers that a table keeps on the device (index_cache.hpp).
inline constexpr int64_t most_index_arrays = 64;

// The number of slices into which the rows of [rows, width] are cut for sums over rows, with 32 rows or more
// each: enough to fill a GPU. It is 0 if there are no rows.
int64_t column_slices(int64_t rows, int64_t width);

// The floats of workspace that these operations take.
int64_t column_sum_workspace(int64_t rows, int64_t width);
int64_t rms_norm_backward_weight_workspace(int64_t rows, int64_t width);
int64_t attention_backward_workspace(int64_t queries, int64_t heads);

// Operations::head_chunk().
int64_t head_chunk(int64_t vocab);

}  // namespace collie::cuda
