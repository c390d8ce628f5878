// A sum as a binary tree: neighbours are added in pairs, then the pairs in pairs, and so on; what has no
// neighbour goes up as it is. A constant expression, so that kernels/cuda may use it in kernels.
#pragma once

#include <cstdint>

namespace collie {

inline constexpr int most_tree_height = 48;  // of a sum of trees: some 1e18 elements

// Of `count` values. Each tree is added as soon as both halves are there, which takes no more memory than the
// tree is high. 0 of none.
constexpr double tree_sum(const double* values, int64_t count) {
  double trees[64] = {};  // not yet added to a neighbour, each smaller than the one before
  int size = 0;
  for (int64_t i = 0; i < count; ++i) {
    double sum = values[i];
    for (int64_t place = i; (place & 1) != 0; place >>= 1) sum = trees[--size] + sum;
    trees[size++] = sum;
  }
  if (size == 0) return 0;
  double sum = trees[--size];
  while (size > 0) sum = trees[--size] + sum;
  return sum;
}

}  // namespace collie
