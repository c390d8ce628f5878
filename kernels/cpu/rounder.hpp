// Stores numbers in bfloat16 as a Rounding says.
#pragma once

#include <bit>

#include "base/random.hpp"
#include "kernels/cpu/convert.hpp"
#include "kernels/rounding.hpp"

namespace collie::cpu {

// Rounds up with probability (the part that truncation cuts off) / (a unit of the last place kept). 16 bits
// of `random` decide.
inline void store_by(float x, uint32_t random, bfloat16* to) {
  const auto bits = std::bit_cast<uint32_t>(x);
  if ((bits & 0x7F800000U) == 0x7F800000U) return store(x, to);  // infinities, NaN
  to->bits = static_cast<uint16_t>((bits + (random & 0xFFFFU)) >> 16);
}

// Stores the numbers of one range that are rounded: weights (number 0) and states (1, 2, ...). Each number of
// an element has 16 bits of its own. Two elements share a block of the stream for their numbers 0 to 3, and
// another for the numbers from 4 on (the bits of kernels/cuda).
class Rounder {
 public:
  explicit Rounder(const Rounding& rounding) : rounding_(rounding) {}
  // `index`: the place of the first element among all that are rounded under the key.
  void store_rounded(const float* from, int number, uint64_t index, Elements to, int64_t n) const {
    if (!to.narrow || !rounding_.stochastic) return convert({const_cast<float*>(from), false}, to, n);
    auto* const target = static_cast<bfloat16*>(to.data);
    for (int64_t i = 0; i < n; ++i)
      store_by(from[i], random_bits(index + static_cast<uint64_t>(i), number), target + i);
  }

 private:
  uint32_t random_bits(uint64_t index, int number) const {
    const uint64_t block = index / 2;
    const auto words =
        philox4x32({static_cast<uint32_t>(block), static_cast<uint32_t>(block >> 32),
                    static_cast<uint32_t>(number / 4), 0},
                   {static_cast<uint32_t>(rounding_.key), static_cast<uint32_t>(rounding_.key >> 32)});
    return words[index % 2 * 2 + static_cast<size_t>(number % 4 / 2)] >> (number % 2 * 16);
  }

  Rounding rounding_;
};

}  // namespace collie::cpu
