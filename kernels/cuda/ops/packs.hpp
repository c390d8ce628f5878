// Matrices in packs of elements. A pack of 16 bytes is also the unit in which sums are taken, however a
// matrix is aligned. Alignment only decides whether a pack is one access or one access per element. For .cu
// files only.
#pragma once

#include "kernels/cuda/elements.hpp"

namespace collie::cuda {

template <class T>
constexpr int pack_width = 16 / sizeof(T);
template <class T>
using FullPack = Pack<T, pack_width<T>>;

// Calls f with true if packs of all views are single accesses, else with false.
template <class T, class F>
void with_alignment(std::initializer_list<Matrix> views, F f) {
  with_width<T>(views, [&](auto v) { f(std::bool_constant<(decltype(v)::value > 1)>{}); });
}

// A vector as a one-row view.
inline Matrix row_view(const void* data, Element element, int64_t width) {
  return {const_cast<void*>(data), element, 1, width, width};
}

// The pack at `from`, of which `left` elements exist; the other elements are `rest`.
template <bool aligned, class T>
__device__ __forceinline__ FullPack<T> read_pack(const T* from, int64_t left, T rest = {}) {
  if constexpr (aligned) {
    return *reinterpret_cast<const FullPack<T>*>(from);
  } else {
    FullPack<T> pack;
#pragma unroll
    for (int i = 0; i < pack_width<T>; ++i) pack.values[i] = i < left ? from[i] : rest;
    return pack;
  }
}
template <bool aligned, class T>
__device__ __forceinline__ void write_pack(T* to, int64_t left, const FullPack<T>& pack) {
  if constexpr (aligned) {
    *reinterpret_cast<FullPack<T>*>(to) = pack;
  } else {
#pragma unroll
    for (int i = 0; i < pack_width<T>; ++i)
      if (i < left) to[i] = pack.values[i];
  }
}

// One thread per V elements, in blocks of 256 threads that cover as many columns as the rows need. Rows
// beyond the grid's limit are looped over.
template <int V>
LaunchShape over_packs(const Matrix& x) {
  constexpr unsigned threads = 256;
  const int64_t packs = divide_up(x.width, V);
  unsigned wide = threads;
  while (wide > 1 && wide / 2 >= packs) wide /= 2;
  const int64_t rows = divide_up(x.rows, threads / wide);
  return {{static_cast<unsigned>(divide_up(packs, wide)), static_cast<unsigned>(rows < 65535 ? rows : 65535)},
          {wide, threads / wide}};
}

// Calls f(row, column) for the V elements of this thread, in a launch of over_packs<V>.
template <int V, class F>
__device__ __forceinline__ void for_packs(int64_t rows, int64_t width, F f) {
  const int64_t column = (int64_t{blockIdx.x} * blockDim.x + threadIdx.x) * V;
  if (column >= width) return;
  const int64_t step = int64_t{gridDim.y} * blockDim.y;
  for (int64_t row = int64_t{blockIdx.y} * blockDim.y + threadIdx.y; row < rows; row += step) f(row, column);
}

}  // namespace collie::cuda
