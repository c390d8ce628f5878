// The built-in update rules, each in a file of its name.
#pragma once

#include "kernels/update_rule.hpp"

namespace collie {

ElementwiseRule adamw_rule();
ElementwiseRule sgd_rule();

// In the order of their names.
inline std::vector<ElementwiseRule> all_rules() {
  return {adamw_rule(), sgd_rule()};
}

}  // namespace collie
