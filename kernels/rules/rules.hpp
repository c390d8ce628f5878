// The built-in update rules, each in a file of its name.
#pragma once

#include "kernels/update_rule.hpp"

namespace collie {

FactoredRule adafactor_rule();
ElementwiseRule adam_rule();
FactoredRule adalomo_rule();
ElementwiseRule adamw_rule();
QuantisedRule adamw_8bit_rule();
ElementwiseRule adamw_schedule_free_rule();
ElementwiseRule adan_rule();
ElementwiseRule lion_rule();
ElementwiseRule lomo_rule();
OrthogonalRule muon_rule();
ElementwiseRule sgd_rule();
ElementwiseRule sophia_rule();

// The elementwise ones, in the order of their names.
inline std::vector<ElementwiseRule> all_rules() {
  return {adam_rule(), adamw_rule(), adamw_schedule_free_rule(), adan_rule(), lion_rule(), lomo_rule(),
          sgd_rule(),  sophia_rule()};
}

}  // namespace collie
