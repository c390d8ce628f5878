// Sums over the rows of anything that has rows and columns. Rows are cut into slices, a slice's sums go to a
// workspace, then the slices are added in order. The cut depends on the shape alone. For .cu files only.
#pragma once

#include "kernels/cuda/ops/column_sums.hpp"
#include "kernels/cuda/ops/packs.hpp"

namespace collie::cuda {

constexpr unsigned slice_lanes = 32,
                   slice_rows = 8;  // per block: packs of columns × rows that are read at once

// Sums slice blockIdx.y of term(row, column, left, sums), which adds the pack at (row, column) to `sums`.
template <int V, class Term>
__global__ void __launch_bounds__(slice_lanes* slice_rows)
    sum_of_slice(Term term, int64_t rows, int64_t width, int64_t rows_each, float* partials) {
  __shared__ float shared[slice_rows][V][slice_lanes];  // lanes are side by side, so no bank is hit twice
  const int64_t first_column = int64_t{blockIdx.x} * slice_lanes * V;
  const int64_t column = first_column + threadIdx.x * V;
  const int64_t first = blockIdx.y * rows_each, last = first + rows_each < rows ? first + rows_each : rows;
  float sums[V] = {};
  if (column < width) {
#pragma unroll 4
    for (int64_t row = first + threadIdx.y; row < last; row += slice_rows)
      term(row, column, width - column, sums);
  }
#pragma unroll
  for (int i = 0; i < V; ++i) shared[threadIdx.y][i][threadIdx.x] = sums[i];
  __syncthreads();
  // Row-thread i takes column i of every lane's pack.
  static_assert(V <= slice_rows);
  if (threadIdx.y >= V || column + threadIdx.y >= width) return;
  float sum = 0;
#pragma unroll
  for (unsigned y = 0; y < slice_rows; ++y) sum += shared[y][threadIdx.y][threadIdx.x];
  partials[blockIdx.y * width + column + threadIdx.y] = sum;
}

// Queues the sums of all slices of `term` [rows, width] to `partials` [column_slices(rows, width), width].
template <int V, class Term>
void sum_in_slices(cudaStream_t stream, const char* name, const Term& term, int64_t rows, int64_t width,
                   float* partials) {
  const int64_t slices = column_slices(rows, width);
  if (slices == 0) return;
  const LaunchShape shape{
      {static_cast<unsigned>(divide_up(width, int64_t{slice_lanes} * V)), static_cast<unsigned>(slices)},
      {slice_lanes, slice_rows}};
  launch(stream, shape, name, sum_of_slice<V, Term>, term, rows, width, divide_up(rows, slices), partials);
}

}  // namespace collie::cuda
