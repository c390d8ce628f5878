// Real numbers as three terms whose sums are never rounded: multiples of 2^-16, 2^-40 and 2^-64. So a sum has
// the same bits in whatever order and in whatever parts it is taken.
#pragma once

#include <array>
#include <cstddef>
#include <span>

namespace collie {

constexpr size_t exact_terms = 3;

// Terms that together are `number` to within 2^-65. Sums of up to 2^28 numbers are exact while the sum of
// their absolute values stays below 2^36. A number that is not finite is the first term.
std::array<double, exact_terms> exact_terms_of(double number);

// The sum that the sums of such terms say. Terms that are not there are zeros.
double value_of_terms(std::span<const double> sums);

}  // namespace collie
