// A sum as a binary tree: neighbours are added in pairs, then the pairs in pairs, and so on. A number without
// a neighbour goes up unchanged. This is a constant expression, so that kernels/cuda may use it in kernels.
#pragma once

#include <cstdint>

namespace collie {

inline constexpr int most_tree_height = 48;  // for a sum of trees: some 1e18 elements

// The sum of `count` values, 0 if there are none. Each tree is added as soon as both halves are there, so
// memory grows only with the tree's height.
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
