#include "kernels/dynamic_map.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "base/error.hpp"

namespace collie {

namespace {

constexpr int decades = 7;

DynamicMap make_map(bool has_signs) {
  std::vector<double> values = {0, 1};
  for (int decade = 0; decade < decades; ++decade) {
    const int count = 1 << (has_signs ? decade : decade + 1);
    const double highest = std::pow(10.0, decade + 1 - decades);
    for (int i = 0; i < count; ++i) {
      const double value = highest * (0.1 + 0.9 * (i + 0.5) / count);
      values.push_back(value);
      if (has_signs) values.push_back(-value);
    }
  }
  COLLIE_ASSERT(values.size() == map_size, "a map of {} numbers", values.size());
  std::sort(values.begin(), values.end());
  DynamicMap map;
  std::transform(values.begin(), values.end(), map.values.begin(),
                 [](double value) { return static_cast<float>(value); });
  for (size_t code = 0; code + 1 < map_size; ++code)
    map.midpoints[code] = (map.values[code] + map.values[code + 1]) / 2;
  map.midpoints.back() = std::numeric_limits<float>::infinity();
  return map;
}

}  // namespace

const DynamicMap& dynamic_map(bool has_signs) {
  static const DynamicMap with_signs = make_map(true), without = make_map(false);
  return has_signs ? with_signs : without;
}

}  // namespace collie
