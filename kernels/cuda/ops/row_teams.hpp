// Rows of a matrix, each worked on by a team: a warp if the row is short, else a block. For .cu files only.
#pragma once

#include "kernels/cuda/ops/packs.hpp"

namespace collie::cuda {

// A thread's place within its team.
template <bool warp>
struct Team {
  __device__ static unsigned size() { return warp ? warp_size : blockDim.x; }
  __device__ static unsigned lane() { return warp ? threadIdx.x % warp_size : threadIdx.x; }
  __device__ static int64_t index() {
    if constexpr (warp)
      return int64_t{blockIdx.x} * (blockDim.x / warp_size) + threadIdx.x / warp_size;
    else
      return blockIdx.x;
  }
  // Every thread gets the sum over the team, in one order.
  __device__ static float sum(float value) {
    if constexpr (warp) {
      return warp_sum(value);
    } else {
      __shared__ float slots[warp_size];
      return block_sum(value, slots);
    }
  }
  __device__ static float max(float value) {
    if constexpr (warp) {
      return warp_max(value);
    } else {
      __shared__ float slots[warp_size];
      return block_max(value, slots);
    }
  }
};

constexpr unsigned teams_per_block = 4;  // if a team is a warp

// The number of threads of a team in which each holds at most `held` packs of a row: 32, or 128 and more up
// to `most`. Rows may be longer than the team holds.
inline unsigned team_size(int64_t packs, int held, unsigned most) {
  if (packs <= int64_t{warp_size} * held) return warp_size;
  unsigned size = teams_per_block * warp_size;
  while (size < most && int64_t{size} * held < packs) size *= 2;
  return size;
}

// Calls f with std::true_type if a team is a warp (else std::false_type), and with the launch of `teams`
// teams.
template <class F>
void with_teams(int64_t teams, unsigned size, F f) {
  if (size == warp_size)
    f(std::true_type{},
      LaunchShape{{static_cast<unsigned>(divide_up(teams, teams_per_block))}, {teams_per_block * warp_size}});
  else
    f(std::false_type{}, LaunchShape{{static_cast<unsigned>(teams)}, {size}});
}

// Calls f(column, i) for this thread's packs of a row. i counts the packs that the thread may hold in
// registers, and is `held` for all others.
template <class Members, int held, int V, class F>
__device__ __forceinline__ void for_columns(int64_t width, F f) {
  const int64_t step = int64_t{Members::size()} * V, first = int64_t{Members::lane()} * V;
#pragma unroll
  for (int i = 0; i < held; ++i) {
    const int64_t column = i * step + first;
    if (column < width) f(column, i);
  }
  for (int64_t column = held * step + first; column < width; column += step) f(column, held);
}

}  // namespace collie::cuda
