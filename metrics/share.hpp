// Quotients of sums.
#pragma once

#include <limits>

#include "metrics/metric.hpp"

namespace collie {

// NaN where there is nothing to divide by.
inline double share_of(double part, double whole) {
  return whole == 0 ? std::numeric_limits<double>::quiet_NaN() : part / whole;
}

// A sum that is not there is zero.
inline double sum_at(const MetricSums& sums, size_t index) {
  return index < sums.size() ? sums[index] : 0.0;
}

}  // namespace collie
