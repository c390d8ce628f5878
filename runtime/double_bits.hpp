// A double that is sent as its bit pattern, because CAF 0.17 cannot carry every double between processes
// (inf, NaN, -0).
#pragma once

#include <bit>
#include <cstdint>
#include <optional>

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
template <class Inspector>
typename Inspector::result_type inspect(Inspector& f, std::optional<DoubleBits>& x) {
  bool there = x.has_value();
  DoubleBits value = x.value_or(DoubleBits());
  if constexpr (Inspector::reads_state) {
    return f(there, value);
  } else {
    auto result = f(there, value);
    x = there ? std::optional(value) : std::nullopt;
    return result;
  }
}

}  // namespace collie
