// Products and sums of sizes that come from outside. They must not wrap around.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <optional>

namespace collie {

// The product of numbers that are not negative, or nothing if it does not fit.
std::optional<int64_t> checked_product(std::initializer_list<int64_t> factors);

// The sum of numbers that are not negative. It is nothing if it does not fit or if one of the numbers is
// nothing already, so that sums of products need one test.
std::optional<int64_t> checked_sum(std::initializer_list<std::optional<int64_t>> terms);

}  // namespace collie
