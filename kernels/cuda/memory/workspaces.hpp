// How kernels/cuda cuts work and what it takes beside its operands, by shapes alone. In every program, with
// or without CUDA: kernels/meta counts with it.
#pragma once

#include <cstdint>

namespace collie::cuda {

// cuBLASLt's workspace: what NVIDIA asks for on Hopper. One a table.
inline constexpr int64_t matmul_workspace_bytes = int64_t{32} << 20;

// Arrays of whole numbers that a table keeps on the device (index_cache.hpp).
inline constexpr int64_t most_index_arrays = 64;

// Into how many slices the rows of [rows, width] are cut for sums over rows, 32 rows or more each: enough to
// fill a GPU. 0 where there are no rows.
int64_t column_slices(int64_t rows, int64_t width);

// Floats of workspace that these operations take.
int64_t column_sum_workspace(int64_t rows, int64_t width);
int64_t rms_norm_backward_weight_workspace(int64_t rows, int64_t width);
int64_t attention_backward_workspace(int64_t queries, int64_t heads);

// Operations::head_chunk().
int64_t head_chunk(int64_t vocab);

}  // namespace collie::cuda
