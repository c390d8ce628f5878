// Dropout (Srivastava et al., JMLR 15, 2014). Its mask is computed where it is needed and never stored.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "kernels/cuda/views.hpp"

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

// Says which elements are dropped. Element (row, column) has index i = first + row · pitch + column, which is
// its place in the whole tensor, of which this process may hold a part. It is dropped if word i % 4 of
// philox4x32 block i / 4 under `key` (base/random.hpp) is below probability · 2³².
struct DropoutMask {
  uint64_t key;
  double probability;  // [0, 1]
  int64_t first = 0, pitch;
};

// out = 0 if an element is dropped, else x / (1 - probability). It is its own backward: d_x is the dropout of
// d_out with the same mask. out may be x; both have one element type.
void dropout(CUstream_st* stream, const Matrix& x, const DropoutMask& mask, const Matrix& out);

}  // namespace collie::cuda
