// Copies of the arrays of whole numbers that were asked for last, found again by their content.
#pragma once

#include <cstdint>
#include <functional>
#include <list>
#include <span>
#include <vector>

#include "kernels/tensor.hpp"

namespace collie::cuda {

class RecentArrays {
 public:
  // `copy` makes the kept copy of an array. The `bound` arrays used last are kept.
  using Copy = std::function<Tensor(std::span<const int32_t>)>;
  RecentArrays(Copy copy, size_t bound) : copy_(std::move(copy)), bound_(bound) {}

  // The copy of these values. It stays until `bound` other arrays have been asked for.
  const Tensor& find(std::span<const int32_t> values);

 private:
  struct Entry {
    uint64_t hash;
    std::vector<int32_t> values;
    Tensor copy;
  };

  Copy copy_;
  size_t bound_;
  std::list<Entry> entries_;  // the one used last comes first
};

}  // namespace collie::cuda
