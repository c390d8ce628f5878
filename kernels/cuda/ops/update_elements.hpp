// What kernels that update weights share: the formulas, packs of elements at any alignment, and the random
// bits by which they are rounded. For .cu files only.
#pragma once

#include <cmath>

#include "kernels/cuda/elements.hpp"
#include "kernels/cuda/ops/philox.hpp"
#include "kernels/cuda/ops/stochastic.hpp"
#include "kernels/update_formula.hpp"

namespace collie::cuda {

namespace formulas {

// What the formulas are made of, in the bits of kernels/cpu.
__device__ __forceinline__ float mul(float a, float b) {
  return a * b;
}
__device__ __forceinline__ float sub(float a, float b) {
  return a - b;
}
__device__ __forceinline__ float mul_add(float a, float b, float c) {
  return fmaf(a, b, c);
}
__device__ __forceinline__ float neg_mul_add(float a, float b, float c) {
  return fmaf(-a, b, c);
}
__device__ __forceinline__ float div(float a, float b) {
  return a / b;
}
__device__ __forceinline__ float root(float a) {
  return sqrtf(a);
}
__device__ __forceinline__ float sign(float a) {
  return a == 0.0F || std::isnan(a) ? a : copysignf(1.0F, a);
}

__device__ __forceinline__ float clip(float a) {
  return fabsf(a) > 1 ? copysignf(1.0F, a) : a;
}

#define COLLIE_FORMULA __device__ __forceinline__
#include "kernels/rules/formulas-inl.hpp"
#undef COLLIE_FORMULA

}  // namespace formulas

constexpr int update_width = 4;  // elements of a pack

// The numbers of one element that are rounded: its weight and states. Each has 16 bits of its own. Two
// elements share a Philox block for their numbers 0 to 3, and another for the numbers from 4 on.
template <int numbers>
__device__ __forceinline__ void random_bits(uint64_t key, uint64_t index,
                                            unsigned (&bits)[numbers][update_width]) {
#pragma unroll
  for (int first = 0; first < numbers; first += 4) {
    const auto block_of = [&](uint64_t element) {
      const uint64_t pair = element / 2;
      return philox(key, uint4{static_cast<unsigned>(pair), static_cast<unsigned>(pair >> 32),
                               static_cast<unsigned>(first / 4), 0});
    };
    uint4 block = block_of(index);
#pragma unroll
    for (int i = 0; i < update_width; ++i) {
      const bool odd = (index + i) % 2 == 1;
      if (i > 0 && !odd) block = block_of(index + i);
      const unsigned words[] = {odd ? block.z : block.x, odd ? block.w : block.y};
#pragma unroll
      for (int number = first; number < numbers && number < first + 4; ++number)
        bits[number][i] = words[number % 4 / 2] >> (number % 2 * 16);
    }
  }
}

// A pack that may have fewer elements or may not be aligned.
template <class T>
__device__ __forceinline__ void load_some(const T* from, bool whole, int64_t left,
                                          float (&values)[update_width]) {
  if (whole) return load<update_width>(from, values);
#pragma unroll
  for (int i = 0; i < update_width; ++i) values[i] = i < left ? to_float(from[i]) : 0.0F;
}
template <bool stochastic, class T>
__device__ __forceinline__ void store_some(T* to, bool whole, int64_t left,
                                           const float (&values)[update_width],
                                           const unsigned (&random)[update_width]) {
  Pack<T, update_width> pack;
#pragma unroll
  for (int i = 0; i < update_width; ++i) {
    if constexpr (stochastic && sizeof(T) == 2)
      pack.values[i] = round_by(values[i], random[i]);
    else
      pack.values[i] = from_float<T>(values[i]);
  }
  if (whole) {
    *reinterpret_cast<Pack<T, update_width>*>(to) = pack;
    return;
  }
#pragma unroll
  for (int i = 0; i < update_width; ++i)
    if (i < left) to[i] = pack.values[i];
}

__device__ __forceinline__ bool aligned(const void* a, size_t bytes) {
  return reinterpret_cast<uintptr_t>(a) % bytes == 0;
}

}  // namespace collie::cuda
