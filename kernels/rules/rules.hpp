// The built-in update rules, each in a file of its name.
#pragma once

#include "kernels/update_rule.hpp"

namespace collie {

ElementwiseRule adam_rule();
ElementwiseRule adamw_rule();
ElementwiseRule adamw_schedule_free_rule();
ElementwiseRule lion_rule();
ElementwiseRule sgd_rule();

// In the order of their names.
inline std::vector<ElementwiseRule> all_rules() {
  return {adam_rule(), adamw_rule(), adamw_schedule_free_rule(), lion_rule(), sgd_rule()};
}

}  // namespace collie
