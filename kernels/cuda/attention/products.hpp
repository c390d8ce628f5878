// Tiles of rows in shared memory and their products by fused multiply-adds, for the float32 attention
// kernels. For .cu files. A block has 16 × 16 threads. Thread (y, x) has rows y + 16 i and, in the scores,
// columns x + 16 j.
#pragma once

#include "kernels/cuda/attention/visible.hpp"
#include "kernels/cuda/elements.hpp"

namespace collie::cuda {

constexpr int product_threads = 256;

// Rows of `width` floats. Four more floats per row keep rows apart in the banks.
template <int width>
struct FloatRows {
  static constexpr int stride = width + 4;
  float* data;
  __device__ float* row(int index) const { return data + index * stride; }
};

// Loads rows [first, first + count) of R. The other rows, and the columns from head_dim on, become 0.
template <int D, int R>
__device__ __forceinline__ void load_rows(FloatRows<D> to, const HeadRows<const float>& from, int64_t first,
                                          int count) {
  constexpr int packs = D / 4;
  for (int index = static_cast<int>(threadIdx.x); index < R * packs; index += product_threads) {
    const int row = index / packs, column = index % packs * 4;
    const float* source = from.data + (first + row) * from.stride + column;
    float values[4] = {};
    if (from.aligned) {
      if (row < count && column < from.head_dim) load<4>(source, values);
    } else {
#pragma unroll
      for (int j = 0; j < 4; ++j)
        if (row < count && column + j < from.head_dim) values[j] = source[j];
    }
    store(to.row(row) + column, values);
  }
}

// scores[i][j] += own row y + 16 i · others' row x + 16 j, over the first `depth` columns.
template <int D, int rows, int columns>
__device__ __forceinline__ void multiply_transposed(float (&scores)[rows][columns], FloatRows<D> own,
                                                    FloatRows<D> others, int depth) {
  const int y = threadIdx.x / 16, x = threadIdx.x % 16;
  for (int k = 0; k < depth; k += 4) {
    float a[rows][4], b[columns][4];
#pragma unroll
    for (int i = 0; i < rows; ++i) load<4>(own.row(y + 16 * i) + k, a[i]);
#pragma unroll
    for (int j = 0; j < columns; ++j) load<4>(others.row(x + 16 * j) + k, b[j]);
#pragma unroll
    for (int i = 0; i < rows; ++i)
#pragma unroll
      for (int j = 0; j < columns; ++j)
#pragma unroll
        for (int l = 0; l < 4; ++l) scores[i][j] += a[i][l] * b[j][l];
  }
}

// A thread's sums: of row y + 16 i, it has columns V x + 16 V j + v.
template <int rows, int D>
struct RowSums {
  static constexpr int V = D >= 64 ? 4 : D / 16, packs = D / (16 * V);
  float at[rows][packs][V] = {};
};

// sums += weights [., N] · others [N, D].
template <int D, int rows, int N>
__device__ __forceinline__ void multiply_add(RowSums<rows, D>& sums, FloatRows<N> weights,
                                             FloatRows<D> others) {
  constexpr int V = RowSums<rows, D>::V, packs = RowSums<rows, D>::packs;
  const int y = threadIdx.x / 16, x = threadIdx.x % 16;
  for (int k = 0; k < N; k += 4) {
    float a[rows][4];
#pragma unroll
    for (int i = 0; i < rows; ++i) load<4>(weights.row(y + 16 * i) + k, a[i]);
#pragma unroll
    for (int l = 0; l < 4; ++l)
#pragma unroll
      for (int j = 0; j < packs; ++j) {
        float b[V];
        load<V>(others.row(k + l) + V * x + 16 * V * j, b);
#pragma unroll
        for (int i = 0; i < rows; ++i)
#pragma unroll
          for (int v = 0; v < V; ++v) sums.at[i][j][v] += a[i][l] * b[v];
      }
  }
}

// Stores the rows of sums, times factors[i], to the first `count` rows of memory from `first`.
template <int rows, int D>
__device__ __forceinline__ void store_rows(const RowSums<rows, D>& sums, const float (&factors)[rows],
                                           const HeadRows<float>& to, int64_t first, int count) {
  constexpr int V = RowSums<rows, D>::V, packs = RowSums<rows, D>::packs;
  const int y = threadIdx.x / 16, x = threadIdx.x % 16;
#pragma unroll
  for (int i = 0; i < rows; ++i) {
    if (y + 16 * i >= count) continue;
    float* row = to.data + (first + y + 16 * i) * to.stride;
#pragma unroll
    for (int j = 0; j < packs; ++j) {
      const int column = V * x + 16 * V * j;
      float values[V];
#pragma unroll
      for (int v = 0; v < V; ++v) values[v] = sums.at[i][j][v] * factors[i];
      if (to.aligned && column < to.head_dim) {
        store(row + column, values);
      } else {
#pragma unroll
        for (int v = 0; v < V; ++v)
          if (column + v < to.head_dim) row[column + v] = values[v];
      }
    }
  }
}

}  // namespace collie::cuda
