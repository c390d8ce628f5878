// Division of counts, rounded up.
#pragma once

#include <cstdint>

namespace collie {

// The smallest number of groups of `by` that hold `count` >= 0; by > 0.
constexpr int64_t divide_up(int64_t count, int64_t by) {
  return (count + by - 1) / by;
}

// The smallest multiple of `multiple` that is not below `value`.
constexpr int64_t round_up(int64_t value, int64_t multiple) {
  return divide_up(value, multiple) * multiple;
}

}  // namespace collie
