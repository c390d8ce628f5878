// Optimizers whose rule works on each element by itself (kernels/update_rule.hpp).
#pragma once

#include "optim/optimizer.hpp"

namespace collie {

// Makes the optimizer of a rule. The rule must outlive the factory.
OptimizerFactory elementwise_optimizer(const ElementwiseRule& rule);

}  // namespace collie
