// Sums of doubles, one value after another; OrderedRuns in kernels/operations.hpp says of which.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

struct CUstream_st;

namespace collie::cuda {

// The runs as one array: starts [count + 1], firsts [runs], counts [runs].
inline std::vector<int32_t> words_of(std::span<const int32_t> starts, std::span<const int32_t> firsts,
                                     std::span<const int32_t> counts) {
  std::vector<int32_t> words(starts.begin(), starts.end());
  words.insert(words.end(), firsts.begin(), firsts.end());
  words.insert(words.end(), counts.begin(), counts.end());
  return words;
}

// sums [count] of values; `words`, of `runs` runs, on the device.
void ordered_sums(CUstream_st* stream, const double* values, const int32_t* words, int64_t runs,
                  int64_t count, double* sums);

}  // namespace collie::cuda
