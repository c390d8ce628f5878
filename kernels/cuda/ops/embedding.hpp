// Looks up rows of a table by id, and computes their gradient without atomics.
#pragma once

#include <span>
#include <vector>

#include "kernels/cuda/views.hpp"

struct CUstream_st;

namespace collie::cuda {

// out [tokens, hidden] = rows of table by ids [tokens] (on the device); 0 if the id is -1.
void embedding(CUstream_st* stream, const Matrix& table, const int32_t* ids, const Matrix& out);

// The tokens of each id that occurs, in token order, in one array for the device.
struct TokensById {
  int64_t ids = 0;             // ids that occur; -1 does not count
  std::vector<int32_t> array;  // ids [ids], first [ids + 1], tokens [tokens with an id]
};
TokensById tokens_by_id(std::span<const int32_t> ids);

// d_table's rows of the ids that occur += the sum of their tokens' rows of d_out, in token order. `array` is
// the array of tokens_by_id, on the device. d_table may be float32 if d_out is bfloat16.
void embedding_backward(CUstream_st* stream, int64_t ids, const int32_t* array, const Matrix& d_out,
                        const Matrix& d_table);

}  // namespace collie::cuda
