// A thread makes V neighbours, each on its own, because a row may begin in the middle of a byte or of a
// block. What codes stand for is in shared memory. Bytes per element: 1/2 and its share of a scale, and 4
// (float32) or 2 (bfloat16) that are written.
#include "kernels/cuda/ops/dequantise.hpp"

#include "kernels/cuda/ops/packs.hpp"

namespace collie::cuda {

namespace {

__device__ __forceinline__ float scale_of(const CodedMatrix& matrix, const float* numbers, int64_t row,
                                          int64_t block) {
  const int64_t at = row * matrix.scales_per_row + block;
  if (matrix.scales != nullptr) return matrix.scales[at];
  const int64_t of_whole = matrix.places[2 * row] + block;
  // Rounded before the offset is added, as on the host.
  return __fmul_rn(numbers[matrix.scale_codes[at]], matrix.nested[of_whole / matrix.nested_block]) +
         matrix.offset;
}

template <int V, class T>
__global__ void dequantise_blocks_kernel(const __grid_constant__ CodedMatrix matrix,
                                         const __grid_constant__ CodeNumbers numbers, int64_t first_row,
                                         int64_t first_column, Typed<T> tile) {
  __shared__ float values[short_code_count], scales[scale_code_count];
  for (unsigned i = threadIdx.y * blockDim.x + threadIdx.x; i < scale_code_count;
       i += blockDim.x * blockDim.y) {
    scales[i] = numbers.scales[i];
    if (i < short_code_count) values[i] = numbers.values[i];
  }
  __syncthreads();
  for_packs<V>(tile.rows, tile.width, [&](int64_t i, int64_t j) {
    const int64_t row = first_row + i, lead = matrix.places[2 * row + 1];
    const uint8_t* const codes = matrix.codes + row * matrix.code_bytes;
    float result[V], scale = 0;
    int64_t block_of_scale = -1;
#pragma unroll
    for (int v = 0; v < V; ++v) {
      const int64_t column = first_column + j + v, block = (lead + column) / matrix.block_size;
      if (block != block_of_scale) scale = scale_of(matrix, scales, row, block);
      block_of_scale = block;
      const unsigned pair = codes[column / 2];
      result[v] = values[column % 2 == 0 ? pair >> 4 : pair & 15U] * scale;
    }
    store<V>(tile.row(i) + j, result);
  });
}

template <int V, class T>
__global__ void dequantise_rows_kernel(const uint8_t* codes, int64_t code_bytes, const float* scales,
                                       float unit, int64_t first_row, int64_t first_column, Typed<T> tile) {
  for_packs<V>(tile.rows, tile.width, [&](int64_t i, int64_t j) {
    const int64_t row = first_row + i;
    const uint8_t* const from = codes + row * code_bytes + first_column + j;
    const float scale = scales[row];
    float result[V];
#pragma unroll
    for (int v = 0; v < V; ++v) result[v] = static_cast<float>(static_cast<int8_t>(from[v])) * scale * unit;
    store<V>(tile.row(i) + j, result);
  });
}

}  // namespace

void dequantise_blocks(cudaStream_t stream, const CodedMatrix& matrix, const CodeNumbers& numbers,
                       int64_t first_row, int64_t first_column, const Matrix& tile) {
  with_type(tile.element, [&](auto type) {
    using T = decltype(type);
    with_width<T>({tile}, [&](auto v) {
      launch(stream, over_packs<v>(tile), "dequantise_blocks", dequantise_blocks_kernel<v, T>, matrix,
             numbers, first_row, first_column, typed<T>(tile));
    });
  });
}

void dequantise_rows(cudaStream_t stream, const uint8_t* codes, int64_t code_bytes, const float* scales,
                     float unit, int64_t first_row, int64_t first_column, const Matrix& tile) {
  with_type(tile.element, [&](auto type) {
    using T = decltype(type);
    with_width<T>({tile}, [&](auto v) {
      launch(stream, over_packs<v>(tile), "dequantise_rows", dequantise_rows_kernel<v, T>, codes, code_bytes,
             scales, unit, first_row, first_column, typed<T>(tile));
    });
  });
}

}  // namespace collie::cuda
