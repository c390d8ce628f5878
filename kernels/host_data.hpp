// Moves values in and out of host tensors, row by row, on one thread. The host implementations share it.
#pragma once

#include <span>
#include <vector>

#include "kernels/tensor.hpp"

namespace collie::host {

// Any tensor as rows of dense elements. A contiguous tensor is a single row.
struct Rows {
  int64_t count, width;
};
Rows rows_of(const Tensor& x);

void fill(const Tensor& x, double value);                     // rounded to the dtype
void copy(const Tensor& from, const Tensor& to);              // same shape and dtype
void upload(std::span<const float> values, const Tensor& x);  // values: numel, row-major
void download(const Tensor& x, std::span<float> values);

// matrix [rows, columns] -> [columns, rows]
std::vector<float> transposed(std::span<const float> matrix, int64_t rows, int64_t columns);

// bfloat16 is the upper half of a float, rounded to nearest even; NaN stays NaN.
uint16_t to_bf16(float value);
float from_bf16(uint16_t bits);

}  // namespace collie::host
