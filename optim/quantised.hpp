// Optimizers with states of 8 bits: kernels/rules/adamw_8bit.cpp.
#pragma once

#include "optim/optimizer.hpp"

namespace collie {

OptimizerFactory quantised_optimizer(const QuantisedRule& rule);

}  // namespace collie
