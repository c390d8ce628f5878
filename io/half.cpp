#include "io/half.hpp"

#include <bit>

namespace collie {

float float_from_half(uint16_t half) {
  const uint32_t sign = uint32_t{half & 0x8000u} << 16;
  const uint32_t exponent = (half >> 10) & 0x1fu;
  const uint32_t fraction = half & 0x3ffu;
  if (exponent == 0) {  // zero, or subnormal: fraction * 2^-24 is exact in a float
    const float magnitude = static_cast<float>(fraction) * 0x1.0p-24f;
    return sign ? -magnitude : magnitude;
  }
  const uint32_t wide_exponent = exponent == 0x1f ? 0xffu : exponent + (127 - 15);
  return std::bit_cast<float>(sign | (wide_exponent << 23) | (fraction << 13));
}

uint16_t half_from_float(float value) {
  const auto bits = std::bit_cast<uint32_t>(value);
  const uint32_t sign = (bits >> 16) & 0x8000u, magnitude = bits & 0x7fffffffu;
  if (magnitude > 0x7f800000u) return static_cast<uint16_t>(sign | 0x7e00u);  // NaN
  const int exponent = static_cast<int>(magnitude >> 23) - (127 - 15);
  if (exponent >= 31) return static_cast<uint16_t>(sign | 0x7c00u);
  if (exponent < -10) return static_cast<uint16_t>(sign);  // below half of the least subnormal number
  // The bits to keep, and how many to cut; a subnormal number shows its leading one.
  const bool is_subnormal = exponent <= 0;
  const uint32_t fraction = is_subnormal ? (magnitude & 0x7fffffu) | 0x800000u : magnitude & 0x7fffffu;
  const int cut = is_subnormal ? 14 - exponent : 13;
  uint32_t half = (is_subnormal ? 0 : static_cast<uint32_t>(exponent) << 10) | (fraction >> cut);
  const uint32_t rest = fraction & ((1u << cut) - 1), middle = 1u << (cut - 1);
  if (rest > middle || (rest == middle && half % 2 == 1))
    ++half;  // a carry raises the exponent, as it should
  return static_cast<uint16_t>(sign | half);
}

}  // namespace collie
