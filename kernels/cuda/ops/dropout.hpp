// Dropout (Srivastava et al., JMLR 15, 2014). Its mask is computed where it is needed and never stored.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "kernels/cuda/views.hpp"
#include "kernels/dropout_mask.hpp"

struct CUstream_st;

namespace collie::cuda {

// The numbers of rows as the device gets them: the low half of each, then its high half.
inline std::vector<int32_t> words_of_rows(std::span<const uint64_t> rows) {
  std::vector<int32_t> words;
  words.reserve(2 * rows.size());
  for (const uint64_t row : rows)
    words.insert(words.end(), {static_cast<int32_t>(row), static_cast<int32_t>(row >> 32)});
  return words;
}

// rows: words_of_rows() of x's rows, on the device; first_column: the number of x's first column. out may be
// x; both have one element type.
void dropout(CUstream_st* stream, const Matrix& x, const DropoutMask& mask, const int32_t* rows,
             int64_t first_column, const Matrix& out);

}  // namespace collie::cuda
