// Distances between the marks of an axis.
#pragma once

#include <cmath>

namespace collie {

// 1, 2 or 5 times a power of ten, such that about `count` of them fit into `length`, which is above 0.
inline double round_step(double length, double count) {
  const double raw = length / count, power = std::pow(10, std::floor(std::log10(raw)));
  for (const double factor : {1.0, 2.0, 5.0})
    if (raw <= factor * power * 1.001) return factor * power;
  return 10 * power;
}

}  // namespace collie
