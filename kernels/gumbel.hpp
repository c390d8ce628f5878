// The noise by which labels are sampled (Gumbel-max: Gumbel, 1954; Maddison et al., arXiv 1411.0030), on
// every device: the same formula with the same bits.
#pragma once

#include <bit>
#include <cmath>
#include <cstdint>

namespace collie {

// The noise of vocabulary index j in row r is that of word j % 4 of the philox4x32 block (base/random.hpp)
// with the counter {low half of r, high half of r, j / 4, 0}: -log(-log(u)), u = (word + 1/2) / 2³², in
// double. It has 32 bits because a probability below 2⁻³² is of no account, and double because float32 would
// make equals of some.
inline double gumbel_noise(uint32_t word) {
  return -std::log(-std::log((static_cast<double>(word) + 0.5) * 0x1p-32));
}

// At least the noise, for no logarithm: -log(u) is at least 1 - u = (¬word + 1/2) / 2³². What cannot be the
// largest by this needs no more.
inline double gumbel_bound(uint32_t word) {
  constexpr double more_than_log_of_2 = 0.6931472;
  return (1 + std::countl_zero(~word)) * more_than_log_of_2;
}

}  // namespace collie
