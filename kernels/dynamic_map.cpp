#include "kernels/dynamic_map.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "base/error.hpp"

namespace collie {

namespace {

constexpr int decades = 7;

// Number i of `parts` + 1 from 0.1 to 1 at equal distances, with the bits of PyTorch's linspace in float32:
// from the nearer end, and rounded once, which double does here.
float boundary(int i, int parts) {
  constexpr double first = 0.1F;
  const double step = static_cast<double>(0.9F / static_cast<float>(parts));
  return static_cast<float>(i < (parts + 1) / 2 ? first + step * i : 1 - step * (parts - i));
}

// The numbers have bitsandbytes' bits, which are those of float32 in this order of operations.
DynamicMap make_map(bool has_signs) {
  std::vector<float> values = {0, 1};
  for (int decade = 0; decade < decades; ++decade) {
    const int count = 1 << (has_signs ? decade : decade + 1);
    const auto highest = static_cast<float>(std::pow(10.0, decade + 1 - decades));
    for (int i = 0; i < count; ++i) {
      const float value = highest * ((boundary(i, count) + boundary(i + 1, count)) / 2);
      values.push_back(value);
      if (has_signs) values.push_back(-value);
    }
  }
  COLLIE_ASSERT(values.size() == map_size, "a map of {} numbers", values.size());
  std::sort(values.begin(), values.end());
  DynamicMap map;
  std::copy(values.begin(), values.end(), map.values.begin());
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
