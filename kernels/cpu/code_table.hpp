// Finds codes of a DynamicMap without a search: the upper half of a float says between which two midpoints it
// lies, or beside which one.
#pragma once

#include <array>
#include <cstdint>

#include "kernels/dynamic_map.hpp"

namespace collie::cpu {

// A cell is all numbers of one sign whose exponent and upper 7 bits of the mantissa are the same. None has
// more than one midpoint. The first one has all that is smaller, too, and the last one all from 1 on.
struct CodeTable {
  static constexpr int shift = 16;
  static constexpr int32_t first_cell = (127 - 24) << 7, cells = (24 << 7) + 1;
  // The lowest code of each cell, of positive numbers, then of negative ones. That of a number is 1 higher if
  // the number is above this one's midpoint.
  std::array<int32_t, 2 * cells> lowest{};
};
const CodeTable& code_table(bool has_signs);

}  // namespace collie::cpu
