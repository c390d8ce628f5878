#include "kernels/cpu/code_table.hpp"

#include <algorithm>
#include <bit>
#include <limits>

#include "base/error.hpp"

namespace collie::cpu {

namespace {

// The smallest absolute value of a cell; of the one behind the last, infinity.
float start_of(int32_t cell) {
  if (cell == 0) return 0;
  if (cell == CodeTable::cells) return std::numeric_limits<float>::infinity();
  return std::bit_cast<float>(static_cast<uint32_t>(CodeTable::first_cell + cell) << CodeTable::shift);
}

CodeTable make_table(const DynamicMap& map) {
  const auto below = [&](float x) {  // midpoints
    return static_cast<int32_t>(std::lower_bound(map.midpoints.begin(), map.midpoints.end() - 1, x) -
                                map.midpoints.begin());
  };
  const auto up_to = [&](float x) {
    return static_cast<int32_t>(std::upper_bound(map.midpoints.begin(), map.midpoints.end() - 1, x) -
                                map.midpoints.begin());
  };
  CodeTable table;
  for (int32_t cell = 0; cell < CodeTable::cells; ++cell) {
    const float start = start_of(cell), end = start_of(cell + 1);  // [start, end) and (-end, -start]
    const int32_t positive = below(start), negative = up_to(-end);
    COLLIE_ASSERT(below(end) - positive <= 1 && below(-start) - negative <= 1, "a cell of many codes at {}",
                  start);
    table.lowest[static_cast<size_t>(cell)] = positive;
    table.lowest[static_cast<size_t>(CodeTable::cells + cell)] = negative;
  }
  return table;
}

}  // namespace

const CodeTable& code_table(bool has_signs) {
  static const CodeTable with_signs = make_table(dynamic_map(true)), without = make_table(dynamic_map(false));
  return has_signs ? with_signs : without;
}

}  // namespace collie::cpu
