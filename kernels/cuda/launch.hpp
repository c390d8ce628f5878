// Starts kernels, and has what all kernels share. For .cu files only.
#pragma once

#include <type_traits>

#include "base/divide.hpp"
#include "kernels/cuda/api.hpp"

namespace collie::cuda {

struct LaunchShape {
  dim3 blocks;
  dim3 threads;
  size_t shared_bytes = 0;  // dynamic shared memory per block
};

// Queues kernel(arguments...) on the stream. Nothing is launched if the grid is empty.
template <class... Parameters, class... Arguments>
void launch(cudaStream_t stream, const LaunchShape& shape, const char* name, void (*kernel)(Parameters...),
            Arguments... arguments) {
  if (shape.blocks.x == 0 || shape.blocks.y == 0 || shape.blocks.z == 0) return;
#ifdef __CUDACC__
  if (shape.shared_bytes > 48 * 1024)
    check(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                               static_cast<int>(shape.shared_bytes)),
          name);
  cudaLaunchConfig_t config{};
  config.gridDim = shape.blocks;
  config.blockDim = shape.threads;
  config.dynamicSmemBytes = shape.shared_bytes;
  config.stream = stream;
  check(cudaLaunchKernelEx(&config, kernel, static_cast<Parameters>(arguments)...), name);
#else
  check(emulation::enqueue(stream,
                           [=] {
                             emulation::run_grid(shape.blocks, shape.threads, shape.shared_bytes,
                                                 [&] { kernel(static_cast<Parameters>(arguments)...); });
                           }),
        name);
#endif
}

// The block's dynamic shared memory, 16-byte aligned.
__device__ __forceinline__ void* dynamic_shared() {
#ifdef __CUDACC__
  extern __shared__ uint4 collie_dynamic_shared[];
  return collie_dynamic_shared;
#else
  return emulation::shared_memory();
#endif
}

constexpr unsigned warp_size = 32;
constexpr unsigned all_lanes = 0xFFFFFFFFU;

// The order is the same on every lane, and so are the bits.
template <class T>
__device__ __forceinline__ T warp_sum(T value) {
  for (int bits = 16; bits > 0; bits /= 2) value += __shfl_xor_sync(all_lanes, value, bits);
  return value;
}
template <class T>
__device__ __forceinline__ T warp_max(T value) {
  for (int bits = 16; bits > 0; bits /= 2) {
    const T other = __shfl_xor_sync(all_lanes, value, bits);
    value = other > value ? other : value;
  }
  return value;
}

// The sum over a one-dimensional block of whole warps, at most 1024 threads. Every thread gets it. `slots` is
// 32 elements of shared memory, free for use again after the next barrier.
template <class T>
__device__ __forceinline__ T block_sum(T value, T* slots) {
  value = warp_sum(value);
  const unsigned warp = threadIdx.x / warp_size, lane = threadIdx.x % warp_size;
  __syncthreads();
  if (lane == 0) slots[warp] = value;
  __syncthreads();
  const T mine = lane < blockDim.x / warp_size ? slots[lane] : T{0};
  return warp_sum(mine);
}
template <class T>
__device__ __forceinline__ T block_max(T value, T* slots) {
  value = warp_max(value);
  const unsigned warp = threadIdx.x / warp_size, lane = threadIdx.x % warp_size;
  __syncthreads();
  if (lane == 0) slots[warp] = value;
  __syncthreads();
  const T mine = slots[lane < blockDim.x / warp_size ? lane : 0];
  return warp_max(mine);
}

// Elements that are moved together, by one instruction if they are 16 bytes or fewer.
template <class T, int count = 16 / sizeof(T)>
struct alignas(sizeof(T) * count < 16 ? sizeof(T) * count : 16) Pack {
  T values[count];
};

}  // namespace collie::cuda
