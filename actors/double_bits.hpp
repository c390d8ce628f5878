// A double that travels as its bit pattern: CAF 0.17 cannot carry every double between processes (inf, NaN,
// -0).
#pragma once

#include <bit>
#include <cstdint>

namespace collie {

struct DoubleBits {
  uint64_t bits = 0;
  DoubleBits() = default;
  DoubleBits(double value) : bits(std::bit_cast<uint64_t>(value)) {}
  operator double() const { return std::bit_cast<double>(bits); }
};

template <class Inspector>
auto inspect(Inspector& f, DoubleBits& x) {
  return f(x.bits);
}

}  // namespace collie
