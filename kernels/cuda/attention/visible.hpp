// Shared by the attention kernels of all element types: the operands of one head, and who sees whom in a
// tile. For .cu files.
#pragma once

#include "kernels/cuda/attention/kernels.hpp"
#include "kernels/cuda/launch.hpp"

namespace collie::cuda {

// One head's rows in memory.
template <class T>
struct HeadRows {
  T* data;
  int64_t stride;
  int head_dim;
  bool aligned;  // rows can be accessed 16 bytes at a time
};

// The rows of head 0.
template <class T>
HeadRows<T> head_rows(const Matrix& x, int64_t head_dim) {
  constexpr int64_t pack = 16 / sizeof(T);
  return {static_cast<T*>(x.data), x.stride, static_cast<int>(head_dim),
          reinterpret_cast<uintptr_t>(x.data) % 16 == 0 && x.stride % pack == 0 && head_dim % pack == 0};
}

// Rows of the tile's own side against others, both counted from the tile's first. Side says what the own rows
// are.
template <Side side>
struct Visible {
  AttentionTile tile;
  int window;

  __device__ bool meet(int own, int other) const {
    const int query = side == Side::queries ? own : other, key = side == Side::queries ? other : own;
    const int end = tile.visible + query;
    return other < tile.other_count && key < end && key >= end - window;
  }
  // Says whether the query of the two sees one key and no other.
  __device__ bool alone(int own, int other) const {
    return (side == Side::queries ? own : other) < tile.of_one_key;
  }
  // Says whether some of own rows [own, own + count) and some of others [other, other + others) see each
  // other.
  __device__ bool any(int own, int count, int other, int others) const {
    return closest(own, count, other, others) && farthest(own, count, other, others);
  }
  // Says whether all of them see each other.
  __device__ bool all(int own, int count, int other, int others) const {
    return other + others <= tile.other_count && meet(own + count - 1, other) &&
           meet(own, other + others - 1);
  }

 private:
  // Compares the last query with the first key: whether the query stands behind the key.
  __device__ bool closest(int own, int count, int other, int others) const {
    return side == Side::queries ? other < tile.visible + own + count - 1
                                 : own < tile.visible + other + others - 1;
  }
  // Compares the first query with the last key: whether the query still reaches it.
  __device__ bool farthest(int own, int count, int other, int others) const {
    return side == Side::queries ? other + others - 1 >= tile.visible + own - window
                                 : own + count - 1 >= tile.visible + other - window;
  }
};

constexpr float log2_e = 1.4426950408889634F, ln_2 = 0.6931471805599453F;

}  // namespace collie::cuda
