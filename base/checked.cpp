#include "base/checked.hpp"

#include <algorithm>

namespace collie {

std::optional<int64_t> checked_product(std::initializer_list<int64_t> factors) {
  if (std::find(factors.begin(), factors.end(), 0) != factors.end()) return 0;
  int64_t product = 1;
  for (const int64_t factor : factors)
    if (__builtin_mul_overflow(product, factor, &product)) return std::nullopt;
  return product;
}

std::optional<int64_t> checked_sum(std::initializer_list<std::optional<int64_t>> terms) {
  int64_t sum = 0;
  for (const auto& term : terms)
    if (!term || __builtin_add_overflow(sum, *term, &sum)) return std::nullopt;
  return sum;
}

}  // namespace collie
