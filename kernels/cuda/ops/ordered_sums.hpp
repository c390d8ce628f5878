// Sums of doubles, one value after another. OrderedRuns in kernels/operations.hpp says which values are
// added.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <span>
#include <vector>

struct CUstream_st;

namespace collie::cuda {

// The description of which values are added, as one array: starts [count + 1], then the lists of [runs], one
// after another.
inline std::vector<int32_t> words_of(std::initializer_list<std::span<const int32_t>> lists) {
  std::vector<int32_t> words;
  for (const auto& list : lists) words.insert(words.end(), list.begin(), list.end());
  return words;
}

// sums [count] of values. `words` describes `runs` runs, on the device.
void ordered_sums(CUstream_st* stream, const double* values, const int32_t* words, int64_t runs,
                  int64_t count, double* sums);

}  // namespace collie::cuda
