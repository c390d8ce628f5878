// Tiles of rows in shared memory and their products by tensor cores, for the bfloat16 attention kernels. For
// .cu files. A block has four warps. A warp owns whole rows, so that what follows from a row's scores never
// leaves its registers.
#pragma once

#include "kernels/cuda/attention/mma.hpp"
#include "kernels/cuda/attention/visible.hpp"
#include "kernels/cuda/elements.hpp"

namespace collie::cuda {

constexpr int fragment_warps = 4, fragment_threads = fragment_warps * 32;

// Rows of D elements, in chunks of eight (16 bytes). The chunks of row r are permuted by r, so that eight
// rows' chunks of one column lie in different banks.
template <int D>
struct SharedRows {
  bfloat16* data;
  __device__ bfloat16* at(int row, int chunk) const { return data + row * D + ((chunk ^ (row & 7)) << 3); }
};

// Starts to copy rows [first, first + count) of R. The other rows, and the columns from head_dim on, become
// 0. The data are there after wait_for_copies() and a barrier.
template <int D, int R>
__device__ __forceinline__ void load_rows(SharedRows<D> to, const HeadRows<const bfloat16>& from,
                                          int64_t first, int count) {
  constexpr int chunks = D / 8;
  if (from.aligned) {
#pragma unroll 2  // more would take the registers that the sums need
    for (int i = 0; i < R * chunks / fragment_threads; ++i) {
      const int index = static_cast<int>(threadIdx.x) + i * fragment_threads;
      const int row = index / chunks, chunk = index % chunks;
      const bool wanted = row < count && chunk * 8 < from.head_dim;
      copy_16_async(to.at(row, chunk),
                    wanted ? from.data + (first + row) * from.stride + chunk * 8 : from.data, wanted);
    }
    return;
  }
#pragma unroll 1
  for (int index = static_cast<int>(threadIdx.x); index < R * chunks; index += fragment_threads) {
    const int row = index / chunks, chunk = index % chunks;
    const bfloat16* source = from.data + (first + row) * from.stride + chunk * 8;
    Pack<bfloat16> pack;
#pragma unroll
    for (int j = 0; j < 8; ++j)
      pack.values[j] = row < count && chunk * 8 + j < from.head_dim ? source[j] : bfloat16{0};
    *reinterpret_cast<Pack<bfloat16>*>(to.at(row, chunk)) = pack;
  }
}

// Columns [first column, first column + C) of the first `count` rows of R.
template <int D, int R, int C>
__device__ __forceinline__ void store_rows(SharedRows<D> from, const HeadRows<bfloat16>& to, int64_t first,
                                           int count, int first_chunk) {
  for (int index = static_cast<int>(threadIdx.x); index < R * (C / 8); index += fragment_threads) {
    const int row = index / (C / 8), chunk = first_chunk + index % (C / 8);
    if (row >= count) continue;
    const Pack<bfloat16> pack = *reinterpret_cast<const Pack<bfloat16>*>(from.at(row, chunk));
    bfloat16* target = to.data + (first + row) * to.stride + chunk * 8;
    if (to.aligned) {
      if (chunk * 8 < to.head_dim) *reinterpret_cast<Pack<bfloat16>*>(target) = pack;
    } else {
#pragma unroll
      for (int j = 0; j < 8; ++j)
        if (chunk * 8 + j < to.head_dim) target[j] = pack.values[j];
    }
  }
}

// A warp's rows of numbers: MT fragments of 16 rows by columns / 8 fragments of 8 columns.
template <int MT, int columns>
struct Accumulator {
  float at[MT][columns / 8][4] = {};
};

// scores [16 MT, N] += own rows from `row` on · othersᵀ.
template <int D, int MT, int N>
__device__ __forceinline__ void multiply_transposed(Accumulator<MT, N>& scores, SharedRows<D> own, int row,
                                                    SharedRows<D> others) {
  const int lane = threadIdx.x % 32;
#pragma unroll
  for (int k = 0; k < D / 16; ++k) {
    unsigned a[MT][4];
#pragma unroll
    for (int m = 0; m < MT; ++m) load_matrices(a[m], own.at(row + m * 16 + lane % 16, k * 2 + lane / 16));
#pragma unroll
    for (int n = 0; n < N / 16; ++n) {
      unsigned b[4];
      load_matrices(b, others.at(n * 16 + lane % 8 + lane / 16 * 8, k * 2 + lane / 8 % 2));
#pragma unroll
      for (int m = 0; m < MT; ++m) {
        multiply_fragments(scores.at[m][2 * n], a[m], b[0], b[1]);
        multiply_fragments(scores.at[m][2 * n + 1], a[m], b[2], b[3]);
      }
    }
  }
}

// sums [16 MT, C] += weights (rounded to bfloat16) · columns of others from `first_chunk` on.
template <int D, int MT, int N, int C>
__device__ __forceinline__ void multiply_add(Accumulator<MT, C>& sums, const Accumulator<MT, N>& weights,
                                             SharedRows<D> others, int first_chunk) {
  const int lane = threadIdx.x % 32;
#pragma unroll
  for (int k = 0; k < N / 16; ++k) {
    unsigned a[MT][4];
#pragma unroll
    for (int m = 0; m < MT; ++m) {
      const auto& left = weights.at[m][2 * k];
      const auto& right = weights.at[m][2 * k + 1];
      a[m][0] = pack(left[0], left[1]);
      a[m][1] = pack(left[2], left[3]);
      a[m][2] = pack(right[0], right[1]);
      a[m][3] = pack(right[2], right[3]);
    }
#pragma unroll
    for (int n = 0; n < C / 16; ++n) {
      unsigned b[4];
      load_matrices_transposed(b, others.at(k * 16 + lane % 16, first_chunk + n * 2 + lane / 16));
#pragma unroll
      for (int m = 0; m < MT; ++m) {
        multiply_fragments(sums.at[m][2 * n], a[m], b[0], b[1]);
        multiply_fragments(sums.at[m][2 * n + 1], a[m], b[2], b[3]);
      }
    }
  }
}

// The warp's rows from `row` on. Each half (8 rows) of fragment m is multiplied by factors[m][half].
template <int D, int MT, int C>
__device__ __forceinline__ void put_rows(SharedRows<D> to, int row, const Accumulator<MT, C>& sums,
                                         const float (&factors)[MT][2], int first_chunk) {
  const int lane = threadIdx.x % 32;
#pragma unroll
  for (int m = 0; m < MT; ++m)
#pragma unroll
    for (int n = 0; n < C / 8; ++n)
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        const float pair[2] = {sums.at[m][n][2 * half] * factors[m][half],
                               sums.at[m][n][2 * half + 1] * factors[m][half]};
        store(to.at(row + m * 16 + half * 8 + lane / 4, first_chunk + n) + lane % 4 * 2, pair);
      }
}

}  // namespace collie::cuda
