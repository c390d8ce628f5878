// bfloat16 as the host computes with it: sixteen bits, the upper half of a float. Arithmetic is done in
// float.
#pragma once

#include <bit>
#include <cstdint>

#include "kernels/tensor.hpp"

namespace collie {

struct bfloat16 {
  uint16_t bits;
};

template <>
constexpr DType dtype_of<bfloat16>() {
  return DType::bf16;
}

inline float to_float(float x) {
  return x;
}
inline float to_float(bfloat16 x) {
  return std::bit_cast<float>(static_cast<uint32_t>(x.bits) << 16);
}

// Rounds to nearest even. NaN stays NaN.
inline void store(float value, float* to) {
  *to = value;
}
inline void store(float value, bfloat16* to) {
  const auto bits = std::bit_cast<uint32_t>(value);
  if ((bits & 0x7FFFFFFFU) > 0x7F800000U)
    to->bits = static_cast<uint16_t>((bits >> 16) | 0x40U);
  else
    to->bits = static_cast<uint16_t>((bits + 0x7FFFU + (bits >> 16 & 1U)) >> 16);
}

}  // namespace collie
