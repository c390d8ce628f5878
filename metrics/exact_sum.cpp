#include "metrics/exact_sum.hpp"

#include <algorithm>
#include <cmath>

namespace collie {

std::array<double, exact_terms> exact_terms_of(double number) {
  if (!std::isfinite(number)) return {number, 0, 0};
  std::array<double, exact_terms> terms;
  double rest = number;
  int digits = 16;
  for (double& term : terms) {
    term = std::ldexp(std::nearbyint(std::ldexp(rest, digits)), -digits);
    rest -= term;
    digits += 24;
  }
  return terms;
}

double value_of_terms(std::span<const double> sums) {
  double value = 0;
  for (size_t i = std::min(sums.size(), exact_terms); i > 0; --i) value += sums[i - 1];
  return value;
}

}  // namespace collie
