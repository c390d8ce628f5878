// Optimizers with factored second moments: kernels/rules/adafactor.cpp, adalomo.cpp.
#pragma once

#include "optim/optimizer.hpp"

namespace collie {

OptimizerFactory factored_optimizer(const FactoredRule& rule);

}  // namespace collie
