// Numbers of codes (kernels/quantised_matrix.hpp): a rectangle of a quantised matrix.
#pragma once

#include <cstdint>

#include "kernels/cuda/views.hpp"

struct CUstream_st;

namespace collie::cuda {

constexpr int short_code_count = 16, scale_code_count = 256;

// A matrix in blocks; QuantisedMatrix has shapes. Of scales and scale_codes one is null.
struct CodedMatrix {
  const uint8_t* codes;
  const int32_t* places;
  const float* scales;
  const uint8_t* scale_codes;
  const float* nested;
  float offset;
  int64_t code_bytes, scales_per_row, block_size, nested_block;
};

// What codes stand for.
struct CodeNumbers {
  float values[short_code_count];
  float scales[scale_code_count];
};

// The tile's first element is that at (first_row, first_column) of what is held.
void dequantise_blocks(CUstream_st* stream, const CodedMatrix& matrix, const CodeNumbers& numbers,
                       int64_t first_row, int64_t first_column, const Matrix& tile);
// int8: codes [rows, code_bytes], scales [rows]; an element is code · scale · unit.
void dequantise_rows(CUstream_st* stream, const uint8_t* codes, int64_t code_bytes, const float* scales,
                     float unit, int64_t first_row, int64_t first_column, const Matrix& tile);

}  // namespace collie::cuda
