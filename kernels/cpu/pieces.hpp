// Cuts tensors into pieces of dense elements, by their shapes and strides alone.
#pragma once

#include <algorithm>
#include <initializer_list>

#include "base/divide.hpp"
#include "kernels/cpu/arena.hpp"
#include "kernels/cpu/elements.hpp"
#include "kernels/tensor.hpp"

namespace collie::cpu {

// The number of elements a task works on. It is large compared with the cost of a task (a microsecond) and
// small compared with a cache.
inline constexpr int64_t piece_size = 16384;

// The number of rows per task if a row has `width` elements.
inline int64_t rows_per_piece(int64_t width) {
  return std::max<int64_t>(1, piece_size / std::max<int64_t>(width, 1));
}

// Tensors of one shape as rows of dense elements. If all are contiguous, it is one long row.
struct RowLayout {
  int64_t rows, width;
};
inline RowLayout common_layout(std::initializer_list<const Tensor*> tensors) {
  const Tensor& first = **tensors.begin();
  if (first.numel() == 0) return {0, 0};
  const auto dense = [](const Tensor* x) { return x->contiguous(); };
  if (std::all_of(tensors.begin(), tensors.end(), dense)) return {1, first.numel()};
  return {first.dim(0), first.numel() / first.dim(0)};
}

// Elementwise work: calls f(row, first, count) for pieces of the rows of `layout`.
template <class F>
void for_each_piece(const Arena& arena, RowLayout layout, F&& f) {
  if (layout.rows == 0) return;
  const int64_t pieces_per_row = divide_up(layout.width, piece_size);
  if (pieces_per_row > 1) {
    arena.for_each(layout.rows * pieces_per_row, [&](int64_t task) {
      const int64_t first = task % pieces_per_row * piece_size;
      f(task / pieces_per_row, first, std::min(piece_size, layout.width - first));
    });
  } else {
    arena.for_pieces(layout.rows, rows_per_piece(layout.width), [&](int64_t first_row, int64_t last_row) {
      for (int64_t row = first_row; row < last_row; ++row) f(row, 0, layout.width);
    });
  }
}

// The first element of row `row`, plus `column`. In a single-row layout row is 0.
inline Elements at(const Tensor& x, int64_t row, int64_t column = 0) {
  return elements_of(x) + (row * x.row_stride() + column);
}
// The same of a tensor that is always float32: statistics and tables.
inline float* float_at(const Tensor& x, int64_t row) {
  return x.data<float>() + row * x.row_stride();
}

}  // namespace collie::cpu
